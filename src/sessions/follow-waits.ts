/**
 * A server may ask its client something on the session's GET stream as soon as it is called, and what it says there before
 * anybody listens is lost. So the first call on a new upstream session waits a moment for the relay to listen.
 */

/** The relay and the upstream are milliseconds away; a call does not wait longer for the sake of a question. */
const PATIENCE_MS = 1000;

export class FollowWaits {
  private readonly waiting = new Map<string, Set<() => void>>();

  /** Resolves when the relay has said so, or a second has passed. Begin to wait before the relay can know. */
  wait(sessionId: string, connectionId: string): { readonly followed: Promise<void>; give(): void } {
    const key = `${sessionId} ${connectionId}`;
    let give = (): void => {};
    const followed = new Promise<void>((resolve) => {
      const timer = setTimeout(() => give(), PATIENCE_MS);
      give = () => {
        clearTimeout(timer);
        const others = this.waiting.get(key);
        others?.delete(give);
        if (others?.size === 0) this.waiting.delete(key);
        resolve();
      };
      this.waiting.set(key, (this.waiting.get(key) ?? new Set()).add(give));
    });
    return { followed, give };
  }

  /** Payload of NOTIFY `sallyport_followed`. */
  followed({ sessionId, connectionId }: { sessionId: string; connectionId: string }): void {
    for (const give of [...(this.waiting.get(`${sessionId} ${connectionId}`) ?? [])]) give();
  }
}
