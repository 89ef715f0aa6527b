/** What a batch and an HTTP+SSE client need of the relay: the gateway's own front door, as any other client finds it. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

export interface DoorRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal: AbortSignal;
}

export interface DoorResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** Resolves at the head of the response; rejects when nothing could be asked, or the signal said stop. */
export interface Door {
  send(request: DoorRequest): Promise<DoorResponse>;
}
