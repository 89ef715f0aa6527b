/** An upstream of 2026-07-28 that refuses whatever the specification tells it to refuse, and remembers why. */
import type { Test } from 'tap';
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

export const VERSION = '2026-07-28';
const KEY = 'io.modelcontextprotocol/';

export interface ModernOptions extends Partial<Content> {
  readonly pageSize?: number;
  readonly capabilities?: Record<string, unknown>;
  readonly ttlMs?: number;
  readonly cacheScope?: 'public' | 'private';
  readonly instructions?: string;
}

export interface ModernUpstream extends ScriptedUpstream {
  readonly content: Content;
  /** Why requests were refused, in order: a gateway that does its duty gives no reason. */
  readonly faults: string[];
  /** Streams of subscriptions/listen that are open. */
  readonly listeners: Set<Call>;
}

export async function startModern(t: Test, options: ModernOptions = {}): Promise<ModernUpstream> {
  const { pageSize = 1000, ttlMs = 60_000, cacheScope = 'public' } = options;
  const content: Content = { ...standardContent(), ...options };
  const faults: string[] = [];
  const listeners = new Set<Call>();
  const base = await startScripted(t, (call) => answer(call));
  const holds = base.holds;
  // What is wrong with a held request is told all the same.
  base.holds = (call) => holds(call) && faultOf(call, content) === undefined;

  function answer(call: Call): void {
    const { message } = call;
    if (call.httpMethod !== 'POST') {
      call.response.writeHead(405, { allow: 'POST' }).end();
      return;
    }
    const fault = faultOf(call, content);
    if (fault !== undefined) {
      faults.push(`${String(message.method)}: ${fault.text}`);
      call.error(fault.code, fault.text, fault.data, 400);
      return;
    }
    if (message.id === undefined) call.response.writeHead(202).end();
    else request(call, message);
  }

  const complete = (call: Call, result: object): void =>
    call.result({
      resultType: 'complete',
      ...result,
      _meta: { [`${KEY}serverInfo`]: { name: 'modern-fixture', version: '1' } },
    });
  const cacheable = (call: Call, result: object): void => complete(call, { ttlMs, cacheScope, ...result });

  function request(call: Call, { method, params = {} }: Message): void {
    switch (method) {
      case 'server/discover':
        cacheable(call, {
          supportedVersions: [VERSION],
          capabilities: options.capabilities ?? CAPABILITIES,
          ...(options.instructions !== undefined && { instructions: options.instructions }),
        });
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
        complete(call, params.name === 'links' ? linksResult() : echoResult(params));
        break;
      case 'prompts/get':
        if (content.prompts.some(({ name }) => name === params.name)) complete(call, promptResult(params));
        else call.error(-32602, `Unknown prompt ${String(params.name)}`);
        break;
      case 'resources/read': {
        const read = readResult(content, params.uri);
        if (read === undefined) call.error(-32602, 'Resource not found', { uri: params.uri });
        else cacheable(call, read);
        break;
      }
      case 'completion/complete':
        complete(call, completionResult(params));
        break;
      case 'subscriptions/listen':
        listen(call, params);
        break;
      default:
        call.error(-32601, `No method ${String(method)}`, undefined, 404);
    }
  }

  function listed(call: Call, key: string, items: readonly unknown[]): void {
    const { items: some, next } = page(items, pageSize, call.message.params?.cursor);
    cacheable(call, { [key]: some, ...(next !== undefined && { nextCursor: next }) });
  }

  function listen(call: Call, params: NonNullable<Message['params']>): void {
    const _meta = { [`${KEY}subscriptionId`]: call.message.id };
    call.event({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: params.notifications, _meta },
    });
    listeners.add(call);
    void call.closed.then(() => listeners.delete(call));
  }

  return Object.assign(base, { content, faults, listeners });
}

interface Fault {
  readonly code: number;
  readonly text: string;
  readonly data?: unknown;
}

/** The ladder of MCP 2026-07-28, Streamable HTTP, as the upstream's own reading of it. */
function faultOf({ headers, message }: Call, content: Content): Fault | undefined {
  const { method, params } = message;
  if (message.id === undefined) return method === undefined ? { code: -32600, text: 'not a request' } : undefined;
  const meta = params?._meta ?? {};
  const version = meta[`${KEY}protocolVersion`];
  if (typeof version !== 'string') return { code: -32602, text: 'no protocol version in _meta' };
  const mismatch = (text: string): Fault => ({ code: -32020, text });
  if (headers['mcp-protocol-version'] !== version) return mismatch('MCP-Protocol-Version is not that of _meta');
  if (version !== VERSION) {
    return { code: -32022, text: `version ${version}`, data: { supported: [VERSION], requested: version } };
  }
  if (typeof meta[`${KEY}clientCapabilities`] !== 'object') return { code: -32602, text: 'no clientCapabilities' };
  if (headers['mcp-method'] !== method) return mismatch(`Mcp-Method is ${String(headers['mcp-method'])}`);
  if (headers['mcp-session-id'] !== undefined) return { code: -32600, text: 'a session id' };
  const expected =
    method === 'tools/call' || method === 'prompts/get'
      ? params?.name
      : method === 'resources/read'
        ? params?.uri
        : undefined;
  if (expected !== undefined && decoded(headers['mcp-name']) !== expected) {
    return mismatch(`Mcp-Name is ${String(headers['mcp-name'])}, the body says ${expected}`);
  }
  if (method !== 'tools/call') return undefined;
  const tool = content.tools.find(({ name }) => name === params?.name);
  for (const [header, value] of expectedParams(tool?.inputSchema, params?.arguments)) {
    const sent = decoded(headers[`mcp-param-${header.toLowerCase()}`]);
    if (sent !== value) return mismatch(`Mcp-Param-${header} is ${String(sent)}, the body says ${String(value)}`);
  }
  return undefined;
}

function expectedParams(schema: unknown, value: unknown): [string, string | undefined][] {
  const properties = (schema as { properties?: Record<string, Record<string, unknown>> } | undefined)?.properties ?? {};
  return Object.entries(properties).flatMap(([name, inner]) => {
    const own = (value as Record<string, unknown> | undefined)?.[name];
    const header = inner['x-mcp-header'];
    if (typeof header !== 'string') return expectedParams(inner, own);
    return [[header, own === undefined || own === null ? undefined : String(own)]];
  });
}

function decoded(header: string | string[] | undefined): string | undefined {
  if (typeof header !== 'string') return undefined;
  const encoded = /^=\?base64\?(.*)\?=$/.exec(header)?.[1];
  return encoded === undefined ? header : Buffer.from(encoded, 'base64').toString('utf8');
}
