/** Calls of legacy sessions that are being answered here, so that a cancellation finds the one upstream it is for. */

/** Tells the upstream. `reason`: the client's own words, if it gave any. */
export type Cancel = (reason: string | undefined) => void;

export class InFlight {
  private readonly byId = new Map<string, Cancel>();

  get size(): number {
    return this.byId.size;
  }

  /** `id`: the request's id as the client wrote it. Returns what ends the entry. */
  add(sessionId: string, id: string, cancel: Cancel): () => void {
    const key = `${sessionId} ${id}`;
    this.byId.set(key, cancel);
    return () => {
      // A client that uses an id twice at a time has replaced it already.
      if (this.byId.get(key) === cancel) this.byId.delete(key);
    };
  }

  /** Cancels the call; false when it is not here. */
  cancel(sessionId: string, id: string, reason: string | undefined): boolean {
    const cancel = this.byId.get(`${sessionId} ${id}`);
    if (cancel === undefined) return false;
    this.byId.delete(`${sessionId} ${id}`);
    cancel(reason);
    return true;
  }
}
