/** An event stream on its way to the client: one event at a time, the one with the response when the rules have seen it. */
import { EventSplitter, eventData, eventFields, formatEvent } from '../mcp/events.ts';
import type { Restoration } from './restoration.ts';

/** What the response side lends. */
export interface Passing {
  readonly write: (event: Buffer) => void;
  /** Hands on the message with what the rules add, perhaps later; undefined: no rule fits the call. */
  readonly enriched: ((message: Buffer, then: (enriched: Buffer) => void) => Promise<void> | undefined) | undefined;
}

export class EventPassage {
  private readonly restoration: Restoration;
  private readonly splitter: EventSplitter;
  private readonly passing: Passing;

  /** `maxBytes`: of one event. */
  constructor(restoration: Restoration, maxBytes: number, passing: Passing) {
    this.restoration = restoration;
    this.splitter = new EventSplitter(maxBytes);
    this.passing = passing;
  }

  /** Writes the events that this piece completes. Throws EventTooLarge. A promise: not before it settles comes the next piece. */
  pass(piece: Buffer): Promise<void> | undefined {
    return this.passFrom(this.splitter.push(piece), 0);
  }

  private passFrom(events: readonly Buffer[], from: number): Promise<void> | undefined {
    for (let i = from; i < events.length; i++) {
      const isOpen = this.restoration.final === undefined;
      const event = this.restoration.event(events[i] as Buffer);
      if (event === undefined) continue;
      const isResponse = isOpen && this.restoration.final !== undefined;
      const pending = isResponse ? this.response(event) : void this.passing.write(event);
      if (pending !== undefined) return pending.then(() => this.passFrom(events, i + 1));
    }
    return undefined;
  }

  private response(event: Buffer): Promise<void> | undefined {
    const { write, enriched } = this.passing;
    const data = enriched === undefined ? undefined : eventData(event);
    if (enriched === undefined || data === undefined) {
      write(event);
      return undefined;
    }
    return enriched(data, (bytes) => write(bytes === data ? event : formatEvent(bytes, eventFields(event))));
  }
}
