/** Columns of the same name are told apart: `id`, `id_2`. In one pass, however many a source says it has. */
export function distinctNames(names: readonly string[]): readonly string[] {
  const taken = new Set(names);
  const seen = new Set<string>();
  /** How far a name has been counted. */
  const counted = new Map<string, number>();
  return names.map((name) => {
    let own = name;
    if (seen.has(name)) {
      let count = counted.get(name) ?? 1;
      do own = `${name}_${++count}`;
      while (taken.has(own) || seen.has(own));
      counted.set(name, count);
    }
    seen.add(own);
    return own;
  });
}
