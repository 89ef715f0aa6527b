/** An upstream of up to 2025-11-25, as strict as the specification: sessions, a GET stream, requests of its own. */
import { randomUUID } from 'node:crypto';
import type { Test } from 'tap';
import { eventually } from './eventually.ts';
import { type Call, type Message, page, type ScriptedUpstream, startScripted } from './scripted-upstream.ts';
import {
  CAPABILITIES,
  type Content,
  completionResult,
  echoResult,
  linksResult,
  promptResult,
  readResult,
  standardContent,
} from './upstream-content.ts';

export interface LegacyOptions extends Partial<Content> {
  /** It mints session ids and has GET streams. */
  readonly sessions?: boolean;
  readonly pageSize?: number;
  readonly version?: string;
  readonly capabilities?: Record<string, unknown>;
  readonly instructions?: string;
  /** Answers requests with events instead of JSON. */
  readonly sse?: boolean;
}

export interface LegacySession {
  readonly id: string;
  readonly protocolVersion: string;
  readonly capabilities: Record<string, unknown>;
  readonly clientInfo: Record<string, unknown>;
  level: string | undefined;
  readonly subscriptions: Set<string>;
}

export interface LegacyUpstream extends ScriptedUpstream {
  readonly content: Content;
  readonly sessions: Map<string, LegacySession>;
  /** Responses that clients have sent to requests of this server's, in order. */
  readonly answers: Call[];
  /** The answer to the request with this id. */
  answerTo(id: unknown, withinMs?: number): Promise<Message>;
  /** Sends a message on the open GET streams. */
  notify(message: unknown): void;
  readonly streams: Set<Call>;
}

export async function startLegacy(t: Test, options: LegacyOptions = {}): Promise<LegacyUpstream> {
  const { sessions: hasSessions = true, pageSize = 1000, version = '2025-11-25', sse = false } = options;
  const content: Content = { ...standardContent(), ...options };
  const sessions = new Map<string, LegacySession>();
  const answers: Call[] = [];
  const streams = new Set<Call>();
  const base = await startScripted(t, (call) => answer(call));

  function answer(call: Call): void {
    const { message } = call;
    const session = sessions.get(call.session ?? '');
    if (message.method !== 'initialize' && hasSessions) {
      const what = call.session === undefined ? [400, 'No session id'] : [404, 'Session not found'];
      if (session === undefined) {
        call.error(-32000, String(what[1]), undefined, Number(what[0]));
        return;
      }
    }
    const claimed = call.headers['mcp-protocol-version'];
    if (claimed !== undefined && claimed > '2025-11-25') {
      call.error(-32000, 'Bad Request: unsupported protocol version', undefined, 400);
      return;
    }
    if (call.httpMethod === 'GET') openStream(call);
    else if (call.httpMethod === 'DELETE') {
      sessions.delete(call.session ?? '');
      call.response.writeHead(204).end();
    } else if (message.method === undefined) {
      answers.push(call);
      call.response.writeHead(202).end();
    } else if (message.id === undefined) call.response.writeHead(202).end();
    else {
      if (sse && message.method !== 'initialize') call.raw(': here it comes\n\n');
      request(call, message, session);
    }
  }

  function openStream(call: Call): void {
    if (!hasSessions) {
      call.response.writeHead(405).end();
      return;
    }
    call.raw(': hello\n\n');
    streams.add(call);
    void call.closed.then(() => streams.delete(call));
  }

  function request(call: Call, { method, params = {} }: Message, session: LegacySession | undefined): void {
    switch (method) {
      case 'initialize':
        initialize(call, params);
        break;
      case 'ping':
        call.result({});
        break;
      case 'logging/setLevel':
        if (session !== undefined) session.level = String(params.level);
        call.result({});
        break;
      case 'resources/subscribe':
        session?.subscriptions.add(String(params.uri));
        call.result({});
        break;
      case 'resources/unsubscribe':
        session?.subscriptions.delete(String(params.uri));
        call.result({});
        break;
      case 'tools/list':
        listed(call, 'tools', content.tools);
        break;
      case 'prompts/list':
        listed(call, 'prompts', content.prompts);
        break;
      case 'resources/list':
        listed(call, 'resources', content.resources);
        break;
      case 'resources/templates/list':
        listed(call, 'resourceTemplates', content.templates);
        break;
      case 'tools/call':
        call.result(params.name === 'links' ? linksResult() : echoResult(params));
        break;
      case 'prompts/get':
        if (content.prompts.some(({ name }) => name === params.name)) call.result(promptResult(params));
        else call.error(-32602, `Unknown prompt ${String(params.name)}`);
        break;
      case 'resources/read': {
        const read = readResult(content, params.uri);
        if (read === undefined) call.error(-32002, 'Resource not found', { uri: params.uri });
        else call.result(read);
        break;
      }
      case 'completion/complete':
        call.result(completionResult(params));
        break;
      default:
        call.error(-32601, `No method ${String(method)}`);
    }
  }

  function initialize(call: Call, params: NonNullable<Message['params']>): void {
    const id = randomUUID();
    const { protocolVersion, capabilities, clientInfo } = params as unknown as LegacySession;
    if (hasSessions) {
      sessions.set(id, { id, protocolVersion, capabilities, clientInfo, level: undefined, subscriptions: new Set() });
    }
    const result = {
      protocolVersion: version,
      capabilities: options.capabilities ?? CAPABILITIES,
      serverInfo: { name: 'legacy-fixture', version: '1' },
      ...(options.instructions !== undefined && { instructions: options.instructions }),
    };
    call.json({ jsonrpc: '2.0', id: call.message.id, result }, 200, hasSessions ? { 'mcp-session-id': id } : {});
  }

  function listed(call: Call, key: string, items: readonly unknown[]): void {
    const { items: some, next } = page(items, pageSize, call.message.params?.cursor);
    call.result({ [key]: some, ...(next !== undefined && { nextCursor: next }) });
  }

  return Object.assign(base, {
    content,
    sessions,
    answers,
    streams,
    answerTo: (id: unknown, withinMs = 10_000) =>
      eventually(() => answers.find(({ message }) => message.id === id)?.message, withinMs),
    notify(message: unknown) {
      for (const stream of streams) stream.event(message);
    },
  });
}
