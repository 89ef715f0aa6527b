/** A stand for journeys between clients and servers of both eras. */
import type { Test } from 'tap';
import { type DualUpstream, startDual } from '../support/dual-upstream.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { type LegacyUpstream, startLegacy } from '../support/legacy-upstream.ts';
import type { Answer } from '../support/mcp.ts';
import { type ModernUpstream, startModern } from '../support/modern-upstream.ts';
import {
  type EventStream,
  legacySession,
  modernPost,
  modernRequest,
  openEvents,
  resultOf,
} from '../support/raw-client.ts';
import type { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { freePort } from '../support/upstream.ts';

export const KEY = 'io.modelcontextprotocol/';
export type Era = 'legacy' | 'modern';

/** A client of either era, alike to a test. */
export interface Agent {
  readonly era: Era;
  ask(method: string, params?: Record<string, unknown>, headers?: Record<string, string>): Promise<Answer>;
  stream(method: string, params: Record<string, unknown>): Promise<EventStream>;
}

export async function agentsOf({ mcpUrl, key }: Gateway): Promise<Agent[]> {
  const session = await legacySession(mcpUrl, key);
  const logged = { [`${KEY}logLevel`]: 'info' };
  return [
    { era: 'legacy', ask: (method, params) => session.request(method, params), stream: session.stream },
    {
      era: 'modern',
      ask: (method, params, headers = {}) => modernPost(mcpUrl, key, method, params, { headers }),
      stream(method, params) {
        const { _meta, ...rest } = params;
        const { body, headers } = modernRequest(method, rest, { meta: { ...logged, ...(_meta as object) } });
        return openEvents(mcpUrl, key, body, headers);
      },
    },
  ];
}

export interface Stand {
  readonly gateway: Gateway;
  readonly agents: Agent[];
  readonly upstreams: { name: string; era: Era; upstream: ScriptedUpstream }[];
  readonly old: LegacyUpstream;
  readonly fresh: ModernUpstream;
  readonly dual: DualUpstream;
}

/** Three servers in one namespace, of both eras, with sessions and without; and one that nobody can reach. */
export async function stand(t: Test): Promise<Stand> {
  const [old, plain, fresh, dual, nobody] = await Promise.all([
    startLegacy(t, { pageSize: 2 }),
    startLegacy(t, { sessions: false, version: '2025-06-18', sse: true }),
    startModern(t, { pageSize: 3 }),
    startDual(t, { capabilities: { tools: {}, tasks: { requests: { tools: { call: {} } }, cancel: {} } } }),
    freePort(),
  ]);
  const gateway = await startGateway(t, {
    config: `
connections:
  old: { url: "${old.url}" }
  plain: { url: "${plain.url}" }
  fresh: { url: "${fresh.url}" }
  dead: { url: "http://127.0.0.1:${nobody}/mcp" }
  both: { url: "${dual.url}" }
namespaces:
  default: { connections: [old, plain, fresh, dead], prefix: always }
  solo: { connections: [fresh], prefix: never }
  solo-old: { connections: [old], prefix: never }
  both: { connections: [both], prefix: always }
`,
  });
  await Promise.all(['old', 'plain', 'fresh', 'both'].map((name) => gateway.ready(name)));
  const agents = await agentsOf(gateway);
  await eventually(async () => {
    const { tools } = resultOf(await (agents[0] as Agent).ask('tools/list')) as { tools: { name: string }[] };
    return ['old', 'plain', 'fresh'].every((name) => tools.some((tool) => tool.name === `${name}__echo`));
  });
  return {
    gateway,
    agents,
    old,
    fresh,
    dual,
    upstreams: [
      { name: 'old', era: 'legacy', upstream: old },
      { name: 'plain', era: 'legacy', upstream: plain },
      { name: 'fresh', era: 'modern', upstream: fresh },
    ],
  };
}
