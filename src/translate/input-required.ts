/** `InputRequiredResult` and what answers it (MCP 2026-07-28, "Multi Round-Trip Requests"), as places in bytes. */
import type { ClientCapabilities } from '../mcp/capabilities.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { JsonError, type Span, stringAt, walkObject } from '../mcp/json.ts';
import { mayBePut } from './ask.ts';
import { member } from './member.ts';

/** One thing that a server asks of the client. */
export interface InputRequest {
  readonly key: string;
  readonly method: string;
  /** The params' bytes as they came. */
  readonly params: Buffer | undefined;
}

export interface InputRequired {
  readonly requests: readonly InputRequest[];
  /** JSON text of `requestState`. */
  readonly state: string | undefined;
}

/** What more would not be a question but a flood. */
const MAX_REQUESTS = 32;

/** undefined: not in the form that the specification gives it. */
export function readInputRequired(bytes: Buffer, result: Span): InputRequired | undefined {
  try {
    const state = member(bytes, result, 'requestState');
    if (state !== undefined && bytes[state.start] !== 0x22) return undefined;
    const asked = member(bytes, result, 'inputRequests');
    if (asked !== undefined && bytes[asked.start] !== 0x7b) return undefined;
    const requests = asked === undefined ? [] : readRequests(bytes, asked);
    if (requests === undefined || (requests.length === 0 && state === undefined)) return undefined;
    return { requests, state: state && bytes.toString('utf8', state.start, state.end) };
  } catch (error) {
    // A key that comes twice.
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

function readRequests(bytes: Buffer, asked: Span): InputRequest[] | undefined {
  const requests: InputRequest[] = [];
  let isSound = true;
  walkObject(bytes, asked.start, 2, (key, start, end) => {
    const method = member(bytes, { start, end }, 'method');
    const params = member(bytes, { start, end }, 'params');
    if (method === undefined || bytes[method.start] !== 0x22 || (params && bytes[params.start] !== 0x7b)) {
      isSound = false;
      return;
    }
    requests.push({
      key,
      method: stringAt(bytes, method.start, method.end),
      params: params && bytes.subarray(params.start, params.end),
    });
  });
  return isSound && requests.length <= MAX_REQUESTS ? requests : undefined;
}

/** Whether the client has declared that it takes this request, with all that is in it. */
export function mayBeMade({ method, params }: InputRequest, client: ClientCapabilities): boolean {
  const bytes = params ?? Buffer.alloc(0);
  const span = params === undefined ? undefined : { start: 0, end: params.length };
  const rest = { kind: 'message', id: undefined, outcome: undefined, isError: false } as const;
  return mayBePut({ bytes, method, params: span, ...rest }, client);
}

/** `mode` of an elicitation's params. */
export function modeIn(params: Buffer | undefined): string | undefined {
  if (params === undefined) return undefined;
  const mode = member(params, { start: 0, end: params.length }, 'mode');
  return mode !== undefined && params[mode.start] === 0x22 ? stringAt(params, mode.start, mode.end) : undefined;
}

/** The result that asks. `id`: JSON text of the client's request id; `state`: as it will come back. */
export function inputRequiredResponse(id: string, requests: readonly InputRequest[], state: string): Buffer {
  const parts: Buffer[] = [];
  for (const { key, method, params } of requests) {
    const opening = `${parts.length === 0 ? '' : ','}${JSON.stringify(key)}:{"method":${JSON.stringify(method)}`;
    parts.push(Buffer.from(opening));
    if (params !== undefined) parts.push(Buffer.from(',"params":'), params);
    parts.push(CLOSING);
  }
  return Buffer.concat([
    Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{"resultType":"input_required","inputRequests":{`),
    ...parts,
    Buffer.from(`},"requestState":${JSON.stringify(state)}}}`),
  ]);
}

const CLOSING = Buffer.from('}');

/** The members of a retry: what was asked, answered. `state`: JSON text, as it came. */
export function retryMembers(answers: ReadonlyMap<string, Buffer>, state: string | undefined): string {
  const responses = [...answers].map(([key, result]) => `${JSON.stringify(key)}:${result.toString('utf8')}`);
  return [
    ...(responses.length === 0 ? [] : [`"inputResponses":{${responses.join(',')}}`]),
    ...(state === undefined ? [] : [`"requestState":${state}`]),
  ].join(',');
}

export interface Retry {
  readonly state: string;
  /** Bytes of each result, by key. */
  readonly responses: ReadonlyMap<string, Buffer>;
}

/** What a repeated request brings; `none`: it is no repetition. Otherwise what is wrong with it. */
export function readRetry({ bytes, params }: Envelope): Retry | 'none' | { readonly fault: string } {
  const state = params === undefined ? undefined : member(bytes, params, 'requestState');
  if (params === undefined || state === undefined) return 'none';
  if (bytes[state.start] !== 0x22) return { fault: 'requestState must be a string' };
  const given = member(bytes, params, 'inputResponses');
  const responses = new Map<string, Buffer>();
  if (given !== undefined) {
    if (bytes[given.start] !== 0x7b) return { fault: 'inputResponses must be an object' };
    let isSound = true;
    try {
      walkObject(bytes, given.start, 2, (key, start, end) => {
        if (bytes[start] !== 0x7b) isSound = false;
        responses.set(key, bytes.subarray(start, end));
      });
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      return { fault: error.message };
    }
    if (!isSound) return { fault: 'inputResponses must hold the result of each request, an object' };
  }
  return { state: stringAt(bytes, state.start, state.end), responses };
}
