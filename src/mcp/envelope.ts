/**
 * The JSON-RPC envelope of one MCP message, as places in its bytes: what routing and policy need to know, read
 * once, with the payload left as it came (design rules 1 to 3).
 */

import { assertUtf8, JsonError, refuseRepeats, type Span, skipSpace, skipValue, stringAt, walkObject } from './json.ts';
import { lookAlike } from './look-alike.ts';
import { type RequestMeta, readMeta } from './meta.ts';

export interface Envelope {
  readonly bytes: Buffer;
  readonly kind: 'request' | 'notification' | 'response';
  /** Method name; empty for a response. */
  readonly method: string;
  /** The id exactly as the sender wrote it (`1`, `"1"`, `9007199254740993`); undefined for a notification. */
  readonly id: Span | undefined;
  readonly params: Span | undefined;
  /** `params.name`, decoded, and where it stands (quotes included). */
  readonly name: string | undefined;
  readonly nameSpan: Span | undefined;
  readonly uri: string | undefined;
  readonly uriSpan: Span | undefined;
  readonly cursor: string | undefined;
  readonly arguments: Span | undefined;
  /** `params._meta`, where it is an object. */
  readonly meta: RequestMeta | undefined;
  /** `params.ref` of completion/complete. */
  readonly ref: Span | undefined;
  readonly taskId: string | undefined;
  readonly taskIdSpan: Span | undefined;
  /** `params.requestId` of notifications/cancelled. */
  readonly cancels: Span | undefined;
  /** `params.level` of logging/setLevel. */
  readonly level: string | undefined;
  /** `params.progressToken` of notifications/progress. */
  readonly progressToken: Span | undefined;
  readonly protocolVersion: string | undefined;
  /** `clientInfo` of an initialize request. */
  readonly clientInfo: Span | undefined;
}

/** Why a body is not one well-formed JSON-RPC message. `id` is given when it could be read. */
export class EnvelopeError extends Error {
  readonly code: 'parse' | 'invalid' | 'batch';
  readonly id: Span | undefined;
  constructor(code: 'parse' | 'invalid' | 'batch', message: string, id?: Span) {
    super(message);
    this.code = code;
    this.id = id;
  }
}

/** Reads a body; throws EnvelopeError. Every byte is checked, duplicates are refused in the envelope and in params. */
export function parseEnvelope(bytes: Buffer): Envelope {
  try {
    assertUtf8(bytes);
    return read(bytes);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    // A repeated key or a deep tree is well-formed text that we refuse; anything else is not JSON.
    const code = error.tooDeep || error.message.endsWith('comes twice') ? 'invalid' : 'parse';
    throw new EnvelopeError(code, `${error.message} (byte ${error.offset})`);
  }
}

function read(bytes: Buffer): Envelope {
  const start = skipSpace(bytes, 0);
  if (start >= bytes.length) throw new JsonError('the body is empty', 0);
  if (bytes[start] === 0x5b) {
    endOfText(bytes, skipValue(bytes, start, 0));
    throw new EnvelopeError('batch', 'JSON-RPC batches are not accepted; send one message per request');
  }
  if (bytes[start] !== 0x7b) {
    endOfText(bytes, skipValue(bytes, start, 0));
    throw new EnvelopeError('invalid', 'a JSON-RPC message is an object');
  }
  const found = new Found(bytes);
  endOfText(bytes, walkObject(bytes, start, 0, found.member));
  return found.envelope();
}

function endOfText(bytes: Buffer, end: number): void {
  const rest = skipSpace(bytes, end);
  if (rest < bytes.length) throw new JsonError('text after the end of the message', rest);
}

/** What decides where a message goes, and whether it may. */
const MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error']);
const PARAMETERS = new Set(['name', 'uri', 'taskId', 'ref', 'requestId', 'arguments', '_meta']);
const REF_MEMBERS = new Set(['type', 'name', 'uri']);

function refuseLookAlike(key: string, names: ReadonlySet<string>): void {
  const name = lookAlike(key, names);
  if (name === undefined) return;
  throw new EnvelopeError('invalid', `the key ${JSON.stringify(key)} could be read as "${name}"; write it like that`);
}

/** Collects the members that matter while the scanner passes them. */
class Found {
  private readonly bytes: Buffer;
  private jsonrpc = false;
  private id: Span | undefined;
  private method: string | undefined;
  private hasOutcome = false;
  private params: Span | undefined;
  private name: string | undefined;
  private nameSpan: Span | undefined;
  private uri: string | undefined;
  private uriSpan: Span | undefined;
  private cursor: string | undefined;
  private arguments: Span | undefined;
  private meta: RequestMeta | undefined;
  private ref: Span | undefined;
  private taskId: string | undefined;
  private taskIdSpan: Span | undefined;
  private cancels: Span | undefined;
  private level: string | undefined;
  private progressToken: Span | undefined;
  private protocolVersion: string | undefined;
  private clientInfo: Span | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  readonly member = (key: string, start: number, end: number): void => {
    switch (key) {
      case 'jsonrpc':
        this.jsonrpc = this.text(start, end) === '2.0';
        break;
      case 'id':
        this.id = { start, end };
        break;
      case 'method':
        this.method = this.text(start, end);
        break;
      case 'result':
      case 'error':
        this.hasOutcome = true;
        break;
      case 'params':
        this.params = { start, end };
        if (this.bytes[start] === 0x7b) walkObject(this.bytes, start, 1, this.parameter);
        break;
      default:
        refuseLookAlike(key, MEMBERS);
    }
  };

  private readonly parameter = (key: string, start: number, end: number): void => {
    switch (key) {
      case 'name':
        this.name = this.text(start, end);
        this.nameSpan = { start, end };
        break;
      case 'uri':
        this.uri = this.text(start, end);
        this.uriSpan = { start, end };
        break;
      case 'taskId':
        this.taskId = this.text(start, end);
        this.taskIdSpan = { start, end };
        break;
      case 'ref':
        if (this.bytes[start] !== 0x7b) break;
        this.ref = { start, end };
        walkObject(this.bytes, start, 2, (inner) => refuseLookAlike(inner, REF_MEMBERS));
        break;
      case 'requestId':
        this.cancels = { start, end };
        break;
      case 'level':
        this.level = this.text(start, end);
        break;
      case 'progressToken':
        this.progressToken = { start, end };
        break;
      case 'cursor':
        this.cursor = this.text(start, end);
        break;
      case 'arguments':
        this.arguments = { start, end };
        // What the audit shows must be what the upstream reads, and the last of two equal keys is not everybody's choice.
        refuseRepeats(this.bytes, start);
        break;
      case '_meta':
        if (this.bytes[start] === 0x7b) this.meta = readMeta(this.bytes, start, end);
        break;
      case 'protocolVersion':
        this.protocolVersion = this.text(start, end);
        break;
      case 'clientInfo':
        this.clientInfo = { start, end };
        break;
      default:
        refuseLookAlike(key, PARAMETERS);
    }
  };

  /** A string's text; undefined when the value is something else. */
  private text(start: number, end: number): string | undefined {
    return this.bytes[start] === 0x22 ? stringAt(this.bytes, start, end) : undefined;
  }

  envelope(): Envelope {
    const id = this.id;
    const refuse = (message: string): never => {
      throw new EnvelopeError('invalid', message, this.isUsableId() ? id : undefined);
    };
    if (!this.jsonrpc) refuse('"jsonrpc" must be "2.0"');
    if (id !== undefined && !this.isUsableId()) refuse('"id" must be a string or an integer');
    if (this.method === undefined && !this.hasOutcome)
      refuse('a message needs a "method", or is a response with a "result" or an "error"');
    if (this.method !== undefined && this.hasOutcome) refuse('a message is a request or a response, not both');
    if (this.hasOutcome && id === undefined) refuse('a response needs an "id"');
    if (this.params !== undefined && this.bytes[this.params.start] !== 0x7b) refuse('"params" must be an object');
    const { bytes, params, name, nameSpan, uri, uriSpan, cursor, meta, protocolVersion, clientInfo } = this;
    const { ref, taskId, taskIdSpan, cancels, level, progressToken } = this;
    return {
      bytes,
      kind: this.method === undefined ? 'response' : id === undefined ? 'notification' : 'request',
      method: this.method ?? '',
      id,
      params,
      name,
      nameSpan,
      uri,
      uriSpan,
      cursor,
      arguments: this.arguments,
      meta,
      ref,
      taskId,
      taskIdSpan,
      cancels,
      level,
      progressToken,
      protocolVersion,
      clientInfo,
    };
  }

  /** JSON-RPC 2.0 with MCP's narrowing: a string or an integer, not null. */
  private isUsableId(): boolean {
    if (this.id === undefined) return false;
    const first = this.bytes[this.id.start] as number;
    if (first === 0x22) return true;
    if (first !== 0x2d && (first < 0x30 || first > 0x39)) return false;
    for (let i = this.id.start; i < this.id.end; i++) {
      const byte = this.bytes[i];
      if (byte === 0x2e || byte === 0x65 || byte === 0x45) return false;
    }
    return true;
  }
}

/** The id's own bytes as text, for an answer; `null` where there is none. */
export function idText(envelope: { bytes: Buffer; id: Span | undefined } | undefined): string {
  const id = envelope?.id;
  return envelope === undefined || id === undefined ? 'null' : envelope.bytes.toString('utf8', id.start, id.end);
}
