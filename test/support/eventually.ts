/** Polls until `condition` holds and returns what it gave; fails with the last error after `withinMs`. */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  withinMs = 10_000,
): Promise<Exclude<NonNullable<T>, false>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    let error: unknown;
    try {
      const value = await condition();
      if (value) return value as Exclude<NonNullable<T>, false>;
    } catch (caught) {
      error = caught;
    }
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${condition}`, { cause: error });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
