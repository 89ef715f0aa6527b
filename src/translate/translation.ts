/**
 * What an upstream says in answer to one request, as the client is to hear it: its own id and progress token, the words of
 * its era, names that it can use. Whatever does not belong to this request goes no further.
 */
import type { Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { type ClientCapabilities, NO_CAPABILITIES } from '../mcp/capabilities.ts';
import { idText } from '../mcp/envelope.ts';
import { JsonError, type Span, stringAt } from '../mcp/json.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import type { Era } from '../mcp/revision.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import type { Handles } from '../sessions/handles.ts';
import { eraTowards } from '../snapshot/era.ts';
import { notificationEdits } from './ask.ts';
import { errorEdits, NEEDS_CAPABILITY, readError, URL_ELICITATION_REQUIRED } from './error.ts';
import { mayHearOf } from './hearing.ts';
import { mayBeMade, readInputRequired } from './input-required.ts';
import { isLoudEnough } from './log-level.ts';
import { member } from './member.ts';
import { type Names, nameEdits } from './names.ts';
import { privately, resultType, toLegacy, toModern } from './result.ts';

export type Translated =
  /** Goes on. */
  | { readonly kind: 'pass'; readonly bytes: Buffer }
  /** The answer to the request: nothing comes after it. */
  | { readonly kind: 'final'; readonly bytes: Buffer; readonly response: ResponseEnvelope }
  /** The upstream cannot answer without the client: `result` is its InputRequiredResult (modern), or -32042 (legacy). */
  | { readonly kind: 'needs input'; readonly message: ResponseEnvelope }
  /** The upstream asks something (legacy): a request with an id of its own. */
  | { readonly kind: 'ask'; readonly message: ResponseEnvelope; readonly id: string; readonly method: string }
  /** Not for this client; `reason` is for the log. */
  | { readonly kind: 'drop'; readonly reason: string };

export class Translation {
  /** The response to the call, once it has come. */
  final: ResponseEnvelope | undefined;
  private readonly exchange: Exchange;
  private readonly isRelayed: boolean;
  private readonly client: Era;
  private readonly capabilities: ClientCapabilities;
  private readonly upstream: Era;
  private readonly method: string;
  /** Ids and tokens as JSON text: what the client sent, what the upstream got. */
  private readonly id: string;
  private readonly upstreamId: string;
  private readonly token: string | undefined;
  private readonly mintedToken: string | undefined;
  private readonly logLevel: string | undefined;
  /** undefined: the names are right already, or somebody else's work. */
  readonly names: Names | undefined;
  private readonly sessionId: string | undefined;

  /** `names`: false where the message still goes through a processor, which sees to them. */
  constructor(exchange: Exchange, call: UpstreamCall, handles: Handles, names = true) {
    const { client, connection, envelope, namespace, principal, session } = exchange;
    this.exchange = exchange;
    this.client = client?.era ?? 'legacy';
    this.capabilities = client?.capabilities ?? NO_CAPABILITIES;
    this.isRelayed = call.via === 'relay';
    this.upstream = this.isRelayed
      ? this.client
      : connection === undefined
        ? 'legacy'
        : eraTowards(connection, this.client);
    this.method = envelope?.method ?? '';
    this.id = idText(envelope);
    this.upstreamId = call.mintedId ?? this.id;
    const token = envelope?.meta?.progressToken;
    this.token = token === undefined ? undefined : envelope?.bytes.toString('utf8', token.start, token.end);
    this.mintedToken = call.mintedToken;
    this.logLevel = client?.logLevel;
    this.sessionId = session?.id;
    this.names =
      names && connection !== undefined && namespace !== undefined
        ? { handles, connection, uris: namespace.uris, owner: principal?.binding ?? '' }
        : undefined;
  }

  /** The answer must be edited, however large: without that the client could not use it. */
  get mustEdit(): boolean {
    return this.upstreamId !== this.id || this.upstream !== this.client;
  }

  /** The answer may hold names to be edited. */
  get mayEdit(): boolean {
    return this.mustEdit || this.names?.uris.isIdentity === false;
  }

  /** One JSON-RPC message of the upstream's. */
  message(bytes: Buffer): Translated {
    try {
      return this.translate(bytes);
    } catch (error) {
      // Well-formed JSON that two readers would read differently.
      if (error instanceof JsonError) return drop(error.message);
      throw error;
    }
  }

  private translate(bytes: Buffer): Translated {
    if (this.final !== undefined) return drop('a message after the response');
    const message = parseResponse(bytes);
    if (message === undefined) return drop('not a JSON-RPC message');
    if (message.kind !== 'message') return this.response(message);
    return message.id === undefined ? this.notification(message) : this.request(message);
  }

  private response(message: ResponseEnvelope): Translated {
    const { bytes, id, kind, outcome } = message;
    // What is no object is no outcome in MCP: SDKs throw on it, and their caller waits for ever.
    if (outcome === undefined || bytes[outcome.start] !== 0x7b) return drop('not a JSON-RPC message');
    const text = id === undefined ? 'null' : bytes.toString('utf8', id.start, id.end);
    // Servers that could not read a request's id answer null; there is only one request on this stream.
    if (text !== this.upstreamId && !isSameId(text, this.upstreamId) && !(kind === 'error' && text === 'null')) {
      return drop('a response to another request');
    }
    const edits: Edit[] = [];
    if (id === undefined)
      edits.push({ start: bytes.indexOf(0x7b) + 1, end: bytes.indexOf(0x7b) + 1, with: `"id":${this.id},` });
    else if (text !== this.id) edits.push({ ...id, with: this.id });
    if (kind === 'error') {
      const error = readError(bytes, outcome);
      if (error === undefined) return drop('an error without a code');
      if (error.code === URL_ELICITATION_REQUIRED && this.client === 'modern') return { kind: 'needs input', message };
      if (this.client === 'legacy' && this.upstream === 'modern' && error.code === NEEDS_CAPABILITY) {
        return { kind: 'needs input', message };
      }
      edits.push(...errorEdits(error, this.upstream, this.client, this.method));
    } else if (this.client !== this.upstream) {
      if (this.client === 'modern') edits.push(...toModern(bytes, outcome, this.method));
      else if (resultType(bytes, outcome) === 'input_required') return { kind: 'needs input', message };
      else edits.push(...toLegacy(bytes, outcome));
    } else if (this.client === 'modern' && !this.isRelayed && this.isForeignQuestion(bytes, outcome)) {
      return { kind: 'needs input', message };
    }
    if (this.client === 'modern' && kind === 'result') edits.push(...privately(bytes, outcome, this.method));
    if (this.names !== undefined)
      edits.push(...nameEdits(bytes, outcome, kind === 'error' ? 'error' : 'result', this.names));
    this.final = message;
    return { kind: 'final', bytes: splice(bytes, edits), response: message };
  }

  /** A modern server may ask only for what this request's client declared (MCP 2026-07-28, MRTR, server requirement 6). */
  private isForeignQuestion(bytes: Buffer, result: Span): boolean {
    if (resultType(bytes, result) !== 'input_required') return false;
    const { requests = [] } = readInputRequired(bytes, result) ?? {};
    return requests.some((request) => !mayBeMade(request, this.capabilities));
  }

  private notification(message: ResponseEnvelope): Translated {
    const { bytes, method, params } = message;
    switch (method) {
      case 'notifications/progress':
        return this.progress(message);
      case 'notifications/message':
        if (this.client === 'modern' && !isLoudEnough(bytes, params, this.logLevel))
          return drop('a log message nobody asked for');
        break;
      case 'notifications/tools/list_changed':
      case 'notifications/prompts/list_changed':
      case 'notifications/resources/list_changed':
        // The catalog notices by itself, and clients are told on the stream that is for it.
        if (this.client === 'modern') return drop('a change of lists on the stream of a request');
        break;
      case 'notifications/resources/updated':
        if (this.client === 'modern') return drop('a change of a resource on the stream of a request');
        if (!this.mayHearOf(message)) return drop('a change of a resource that its reader may not read');
        break;
    }
    if (this.isRelayed) return this.renamed(message);
    const edits = this.names === undefined ? [] : notificationEdits(message, this.names, this.sessionId);
    return { kind: 'pass', bytes: splice(bytes, edits) };
  }

  private renamed({ bytes, params }: ResponseEnvelope): Translated {
    const edits =
      params === undefined || this.names === undefined ? [] : nameEdits(bytes, params, 'params', this.names);
    return { kind: 'pass', bytes: splice(bytes, edits) };
  }

  private mayHearOf(message: ResponseEnvelope): boolean {
    const { connection, persona } = this.exchange;
    return connection === undefined || mayHearOf(message, connection.name, persona);
  }

  private progress({ bytes, params }: ResponseEnvelope): Translated {
    if (this.mintedToken === undefined) {
      // Without a token of its own the client waits for none, and a shared session knows those of others.
      const isOthers = this.token === undefined && this.upstreamId !== this.id;
      return isOthers ? drop("progress of somebody else's request") : { kind: 'pass', bytes };
    }
    const token = params === undefined ? undefined : member(bytes, params, 'progressToken');
    if (token === undefined || bytes.toString('utf8', token.start, token.end) !== this.mintedToken) {
      return drop("progress of somebody else's request");
    }
    return { kind: 'pass', bytes: splice(bytes, [{ ...token, with: this.token ?? 'null' }]) };
  }

  private request(message: ResponseEnvelope): Translated {
    const { bytes, id, method } = message;
    // The relay has asked in the upstream's place, under an id of its own.
    if (this.isRelayed && this.client === 'legacy') return this.renamed(message);
    // Modern servers ask within their results only.
    if (this.upstream === 'modern' || id === undefined || method === undefined)
      return drop('a request of a modern server');
    return { kind: 'ask', message, id: bytes.toString('utf8', id.start, id.end), method };
  }
}

const drop = (reason: string): Translated => ({ kind: 'drop', reason });

/** Written in another way: `1.0` for `1`, an escape, or a big number that a JavaScript server could not hold. */
function isSameId(answered: string, sent: string): boolean {
  if (answered.startsWith('"')) {
    if (!sent.startsWith('"')) return false;
    return (
      stringAt(Buffer.from(answered), 0, Buffer.byteLength(answered)) ===
      stringAt(Buffer.from(sent), 0, Buffer.byteLength(sent))
    );
  }
  return answered !== 'null' && !sent.startsWith('"') && Number(answered) === Number(sent);
}
