/**
 * A pg client that survives whatever a server sends. pg by itself collects a message of any size, throws out of
 * a socket's event where one is malformed, and may never come back from it; here bytes are counted and messages checked
 * before, and what is thrown ends the connection only.
 */
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { SourceError } from '../source.ts';
import { NONSENSE, openFrames } from './frames.ts';

/** What pg's connection has beyond its published types. */
export interface Wire {
  readonly stream: Duplex;
  parse(statement: { readonly text: string; readonly name?: string }): void;
  bind(parameters: { readonly statement?: string; readonly values?: readonly (string | null)[] }): void;
  describe(what: { readonly type: 'P' }): void;
  execute(portal: { readonly rows?: number }): void;
  close(what: { readonly type: 'S'; readonly name: string }): void;
  sync(): void;
  sendCopyFail(message: string): void;
  attachListeners(stream: Duplex): void;
}

/** Until a request says otherwise: what a server may say by itself, bytes. */
const UNASKED = 1_048_576;

export class GuardedClient extends pg.Client {
  /** Of CancelRequest. */
  declare readonly processID: number | null;
  declare readonly secretKey: number | null;
  /** Of how many the source has been found out of reach so far when it was opened (client.ts). */
  generation: number | undefined;
  readonly #budget: { left: number };
  /** Of prepared statements that this connection has. */
  readonly prepared = new Set<string>();

  constructor(config?: pg.ClientConfig) {
    super(config);
    // The request under way is told by itself.
    this.on('error', () => {});
    this.#budget = guard(this.wire);
  }

  get wire(): Wire {
    return (this as unknown as { connection: Wire }).connection;
  }

  /** The connection is ended by a server that sends more than this before the next call. */
  allow(bytes: number = UNASKED): void {
    this.#budget.left = bytes;
  }

  get isSpent(): boolean {
    return this.#budget.left < 0;
  }
}

export function guard(wire: Wire): { left: number } {
  const budget = { left: UNASKED };
  const attach = wire.attachListeners.bind(wire);
  wire.attachListeners = (stream) => {
    const frames = openFrames();
    const guarded = (read: (chunk: Buffer) => void) => (chunk: Buffer) => {
      if (budget.left < 0 || stream.destroyed) return;
      budget.left -= chunk.length;
      try {
        if (budget.left < 0) throw new Error('the server sent more than was asked for');
        const messages = frames(chunk);
        if (messages.length > 0) read(messages);
      } catch (error) {
        const isNonsense = budget.left >= 0 && !(error instanceof SourceError);
        stream.destroy(isNonsense ? new SourceError('bad answer', NONSENSE) : (error as Error));
      }
    };
    // All that the parser needs of a stream.
    const view = {
      on: (event: string, listener: (chunk: Buffer) => void) =>
        stream.on(event, event === 'data' ? guarded(listener) : listener),
    };
    attach(view as unknown as Duplex);
  };
  return budget;
}
