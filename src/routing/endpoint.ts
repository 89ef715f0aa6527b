/** Step: which endpoint the request names, and whether it may be asked at all (method, host, origin, media types). */
import { isIP } from 'node:net';
import type { World } from '../data-plane/world.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';

export const findEndpoint: Step<World> = {
  name: 'find endpoint',
  needs: [],
  gives: ['tenant', 'namespace'],
  run(exchange, world): StepResult {
    const { head, snapshot } = exchange;
    // DNS rebinding (MCP transports, "Security Warning"): Host first, it costs nothing to a stranger.
    if (!isOwnHost(exchange, world)) return refuse(problems.host(head.authority.slice(0, 100)));
    const origin = head.header('origin');
    if (origin !== undefined && !isOwnOrigin(origin, head.authority) && !isAllowed(origin, snapshot)) {
      return refuse(problems.origin(origin.slice(0, 100)));
    }
    const namespace = namespaceOf(head.path);
    const tenant = snapshot.tenants.get('default');
    const found = namespace === undefined ? undefined : tenant?.namespaces.get(namespace);
    if (tenant === undefined || found === undefined)
      return refuse(problems.notFound(pathOnly(head.path).slice(0, 100)));
    exchange.tenant = tenant;
    exchange.namespace = found;
    return undefined;
  },
};

/** JSON is UTF-8 (RFC 8259 §8.1); another charset would be read differently by whoever honours it. */
const JSON_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

/** Step: POST and DELETE only, JSON in, JSON out. */
export const checkTransport: Step<World> = {
  name: 'check transport',
  needs: ['namespace'],
  gives: [],
  run({ head }, world): StepResult {
    if (head.method === 'DELETE') return undefined;
    // A GET is the relay's, where there is one, and never gets here.
    const allowed = world.relay ? 'GET, POST, DELETE' : 'POST, DELETE';
    if (head.method !== 'POST') return refuse(problems.method(head.method, allowed));
    const contentType = head.header('content-type') ?? '';
    if (!JSON_TYPE.test(contentType)) return refuse(problems.contentType(contentType.slice(0, 80)));
    const accept = head.header('accept');
    if (accept !== undefined && !/application\/json|application\/\*|\*\/\*|text\/event-stream/i.test(accept)) {
      return refuse(problems.notAcceptable());
    }
    return undefined;
  },
};

/** Step: a declared length over the limit is refused before the body is read; Envoy cuts the undeclared ones. */
export const limitSize: Step<World> = {
  name: 'limit size',
  needs: [],
  gives: [],
  run({ head, snapshot, body }): StepResult {
    const limit = snapshot.settings.maxRequestBytes;
    const declared = Number(head.header('content-length') ?? 0);
    return declared > limit || (body?.length ?? 0) > limit ? refuse(problems.tooLarge(limit)) : undefined;
  },
};

const pathOnly = (path: string): string => path.split('?', 1)[0] as string;

/** `/mcp` → default, `/{namespace}/mcp` → namespace, anything else → undefined. */
function namespaceOf(path: string): string | undefined {
  const bare = pathOnly(path);
  if (bare === '/mcp') return 'default';
  return /^\/([A-Za-z0-9_.-]+)\/mcp$/.exec(bare)?.[1];
}

/** A page that this very address served. Its host has been found to be ours, so no other page can claim it. */
const isOwnOrigin = (origin: string, authority: string): boolean =>
  /^https?:\/\//i.test(origin) && origin.slice(origin.indexOf('//') + 2).toLowerCase() === authority.toLowerCase();

const isAllowed = (origin: string, { settings }: Exchange['snapshot']): boolean =>
  settings.allowedOrigins.has(origin.toLowerCase());

function isOwnHost({ head, snapshot }: Exchange, world: World): boolean {
  const host = hostOf(head.authority);
  if (world.ownHosts.has(host) || snapshot.settings.allowedHosts.has(host)) return true;
  return world.ownHosts.has('*') && isIP(host.replace(/^\[|\]$/g, '')) !== 0;
}

/** Host without its port, lower case; IPv6 keeps its brackets. Empty for what is no authority (RFC 3986 §3.2). */
function hostOf(authority: string): string {
  return /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(authority)?.[1]?.toLowerCase() ?? '';
}
