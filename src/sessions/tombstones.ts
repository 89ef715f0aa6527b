/** Sessions that a DELETE ended before their expiry; every replica holds all of them, so that ended means ended. */
export class Tombstones {
  private readonly expiryById = new Map<string, number>();

  get size(): number {
    return this.expiryById.size;
  }

  /** `expiresAt`: when the session would have expired anyway, milliseconds since the epoch. */
  add(sessionId: string, expiresAt: number): void {
    this.expiryById.set(sessionId, expiresAt);
  }

  has(sessionId: string): boolean {
    return this.expiryById.has(sessionId);
  }

  /** Forgets sessions that are refused by their expiry from now on. */
  sweep(now: number): void {
    for (const [id, expiresAt] of this.expiryById) if (expiresAt <= now) this.expiryById.delete(id);
  }
}
