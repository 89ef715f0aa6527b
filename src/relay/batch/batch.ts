/**
 * A batch of a 2025-03-26 session: every message goes through the gateway's own front door by itself, so that it is
 * authorised, limited and recorded like any other; their answers are one answer (MCP 2025-03-26, Streamable HTTP).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Session } from '../../exchange/exchange.ts';
import type { Front, FrontResponse } from '../front.ts';
import { headersToFront, messageHeaders } from '../passed-headers.ts';
import type { Pulse } from '../pulse.ts';
import { isEventStream } from '../upstream/read-events.ts';
import type { RelayResponse } from '../world.ts';
import { Allowance } from './allowance.ts';
import { answersTo, errorFor, lostAnswer } from './answers.ts';
import { BatchAnswer } from './batch-answer.ts';
import { BatchRefused, type Element, splitBatch } from './split.ts';

export interface BatchJob {
  /** Of the endpoint the batch was sent to, `/{namespace}/mcp`. */
  readonly path: string;
  readonly session: Session;
  /** As the client sent them. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly response: RelayResponse;
  readonly front: Front;
  readonly pulse: Pulse;
}

/** Messages of one batch that are under way together. */
const AT_ONCE = 8;
/** Answers that are still coming in. */
const MAX_HELD_BYTES = 32 << 20;

/** Writes the whole response. Never throws for what the client, the front door or an upstream did. */
export async function answerBatch(job: BatchJob): Promise<void> {
  const { response } = job;
  let elements: Element[];
  try {
    elements = splitBatch(job.body);
  } catch (error) {
    if (!(error instanceof BatchRefused)) throw error;
    writeJson(response, 400, errorFor('null', error.code, error.message));
    return;
  }
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.once('close', leave);
  try {
    await new Batch(job, gone.signal).run(elements);
  } finally {
    response.off('close', leave);
  }
}

class Batch {
  private readonly job: BatchJob;
  private readonly signal: AbortSignal;
  private readonly headers: Readonly<Record<string, string>>;
  private readonly answer: BatchAnswer;
  private readonly allowance = new Allowance(MAX_HELD_BYTES);
  /** What became of messages that get no response. */
  private accepted = 0;
  private refusal: { status: number; body: Buffer } | undefined;

  constructor(job: BatchJob, signal: AbortSignal) {
    this.job = job;
    this.signal = signal;
    this.headers = messageHeaders(headersToFront(job.headers), {
      header: String(job.headers['mcp-session-id'] ?? ''),
      protocolVersion: job.session.protocolVersion,
    });
    const accept = job.headers.accept ?? '*/*';
    const takesStream = /text\/(event-stream|\*)|\*\/\*/i.test(accept);
    this.answer = new BatchAnswer(job.response, takesStream ? job.pulse : undefined);
  }

  async run(elements: readonly Element[]): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < elements.length && !this.signal.aborted; index = next++) {
        await this.one(elements[index] as Element, index);
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, elements.length) }, worker));
    if (this.signal.aborted) return;
    if (!this.answer.isEmpty) this.answer.end();
    else if (this.accepted === 0 && this.refusal !== undefined)
      writeJson(this.job.response, this.refusal.status, this.refusal.body);
    else this.job.response.writeHead(202).end();
  }

  private async one(element: Element, index: number): Promise<void> {
    if (element.kind === 'invalid') return this.answer.response(index, 'null', element.answer);
    const { id, bytes } = element;
    let got: FrontResponse;
    try {
      got = await this.job.front.request({
        method: 'POST',
        path: this.job.path,
        headers: this.headers,
        body: bytes,
        signal: this.signal,
      });
    } catch {
      if (id === undefined) this.refusal ??= { status: 502, body: lostAnswer('null') };
      else await this.answer.response(index, id, lostAnswer(id));
      return;
    }
    if (id === undefined) await this.settle(got);
    else await this.collect(got, id, index);
  }

  private async collect(got: FrontResponse, id: string, index: number): Promise<void> {
    if (isEventStream(got.headers)) await this.answer.stream();
    for await (const { bytes, isResponse } of answersTo(got, { id }, this.allowance)) {
      if (isResponse) await this.answer.response(index, id, bytes);
      else await this.answer.aside(bytes);
    }
  }

  /** A notification or a response: accepted, or not. */
  private async settle(got: FrontResponse): Promise<void> {
    if (got.status < 300) {
      got.body.resume();
      this.accepted++;
      return;
    }
    const body = await this.allowance.read(got.body, 64 << 10).catch(() => lostAnswer('null'));
    this.refusal ??= { status: got.status, body };
  }
}

function writeJson(response: RelayResponse, status: number, body: Buffer): void {
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
}
