/**
 * One message of an HTTP+SSE client on its way: the endpoint's refusal is the answer to its POST, everything else comes
 * on the stream after a 202.
 */
import { idText, parseEnvelope } from '../../mcp/envelope.ts';
import { skipSpace } from '../../mcp/json.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { Allowance } from '../batch/allowance.ts';
import { type Awaited, answersTo, lostAnswer, type Resume, responseFor } from '../batch/answers.ts';
import type { Front, FrontResponse } from '../front.ts';

/** How the client's POST is answered. */
export interface Posted {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Message {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly awaited: Awaited;
}

export interface Way {
  readonly front: Front;
  readonly allowance: Allowance;
  /** Nobody waits for it any more. */
  readonly signal: AbortSignal;
  /** Puts a message on the client's stream; resolves when there is room for more. */
  write(message: Buffer): Promise<void>;
  /** The head of the endpoint's answer, before anything of it reaches the client. */
  onHead(got: FrontResponse): void;
  readonly resume: Resume;
}

/**
 * How long a POST waits for the endpoint's word before it is accepted anyway: refusals come within milliseconds, answers
 * take their time, and many clients send nothing else meanwhile.
 */
const VERDICT_MS = 250;
const MAX_REFUSAL_BYTES = 64 << 10;

const ACCEPTED: Posted = { status: 202, headers: {}, body: Buffer.alloc(0) };

/** `posted`: the answer to the POST, soon. `done`: when nothing more comes of it. */
export function deliver(message: Message, way: Way): { posted: Promise<Posted>; done: Promise<void> } {
  let done: Promise<void> = Promise.resolve();
  const posted = new Promise<Posted>((resolve) => {
    let isTold = false;
    const late = setTimeout(() => tell(ACCEPTED), VERDICT_MS);
    /** false: the client has been told something already. */
    const tell = (answer: Posted): boolean => {
      if (isTold) return false;
      isTold = true;
      clearTimeout(late);
      resolve(answer);
      return true;
    };
    done = carry(message, way, tell).finally(() => tell(ACCEPTED));
  });
  return { posted, done };
}

async function carry({ awaited, ...request }: Message, way: Way, tell: (answer: Posted) => boolean): Promise<void> {
  const id = typeof awaited === 'object' ? awaited.id : undefined;
  let got: FrontResponse;
  try {
    got = await way.front.request({ ...request, method: 'POST', signal: way.signal });
  } catch {
    const answer = lostAnswer(id ?? 'null');
    if (!tell({ status: 502, headers: JSON_TYPE, body: answer }) && id !== undefined) await way.write(answer);
    return;
  }
  way.onHead(got);
  if (got.status < 400) {
    tell(ACCEPTED);
    for await (const { bytes } of answersTo(got, awaited, way.allowance, way.resume)) await way.write(bytes);
    return;
  }
  const body = await way.allowance.read(got.body, MAX_REFUSAL_BYTES).catch(() => Buffer.alloc(0));
  way.allowance.give(body.length);
  got.body.destroy();
  // With the request's own id it is its response, and the model reads it; a failed POST is all its client would tell.
  const isResponse = id !== undefined && body.length > 0 && idOf(body) === id;
  const refusal = isResponse ? ACCEPTED : { status: got.status, headers: tellingHeaders(got), body };
  const inTime = tell(refusal);
  if (isResponse || (!inTime && id !== undefined)) await way.write(responseFor(id, body, got.status));
}

const JSON_TYPE = { 'content-type': 'application/json' };

/** Headers of a refusal that say what to do about it. */
const TELLING = ['content-type', 'www-authenticate', 'retry-after', 'allow'] as const;

function tellingHeaders({ headers }: FrontResponse): Record<string, string> {
  return Object.fromEntries(TELLING.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}

function idOf(body: Buffer): string | undefined {
  const response = parseResponse(body);
  return response === undefined ? undefined : idText(response);
}

/** What a body waits for. One that is no message waits for nothing: its refusal is the answer to the POST. */
export function awaitedBy(body: Buffer): Awaited {
  if (body[skipSpace(body, 0)] === 0x5b) return 'any';
  try {
    const envelope = parseEnvelope(body);
    return envelope.kind === 'request' ? { id: idText(envelope) } : 'none';
  } catch {
    return 'none';
  }
}
