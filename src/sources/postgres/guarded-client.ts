/**
 * A pg client that survives whatever a server sends. pg collects a message until it is complete and throws out of a
 * socket's event where one is malformed; here bytes are counted before, and what is thrown ends the connection only.
 */
import type { Duplex } from 'node:stream';
import pg from 'pg';

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
    const guarded = (read: (chunk: Buffer) => void) => (chunk: Buffer) => {
      if (budget.left < 0) return;
      budget.left -= chunk.length;
      try {
        if (budget.left < 0) throw new Error('the server sent more than was asked for');
        read(chunk);
      } catch (error) {
        budget.left = -1;
        stream.destroy(error as Error);
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
