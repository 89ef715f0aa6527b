/** A stand for journeys whose calls are held open while something is asked, told or taken back. */
import type { Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { startModern } from '../support/modern-upstream.ts';
import {
  type EventStream,
  type LegacyClient,
  legacySession,
  modernRequest,
  openEvents,
} from '../support/raw-client.ts';
import type { Call, ScriptedUpstream } from '../support/scripted-upstream.ts';

export const ALL = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: { listChanged: true } };
export const HELD = (name: string, meta?: Record<string, unknown>) => ({
  name: `${name}__held`,
  ...(meta !== undefined && { _meta: meta }),
});
export const ask = (id: unknown, method: string, params: unknown = {}) => ({ jsonrpc: '2.0', id, method, params });
export const answer = (id: unknown, result: unknown = {}) => ({ jsonrpc: '2.0', id, result });

export async function stand(t: Test) {
  const [one, two, shared, plain, fresh] = await Promise.all([
    startLegacy(t),
    startLegacy(t),
    startLegacy(t),
    startLegacy(t, { sessions: false }),
    startModern(t),
  ]);
  const gateway = await startGateway(t, {
    config: `
connections:
  one: { url: "${one.url}" }
  two: { url: "${two.url}" }
  shared: { url: "${shared.url}", session: pooled }
  plain: { url: "${plain.url}" }
  fresh: { url: "${fresh.url}" }
personas: { all: { roles: [admin], tools: { allow: ["*"] } } }
identity:
  apiKeys:
    - { name: anna, key: anna-has-a-long-key, roles: [admin] }
    - { name: bert, key: bert-has-a-long-key, roles: [admin] }
`,
  });
  await Promise.all(['one', 'two', 'shared', 'plain', 'fresh'].map((name) => gateway.ready(name)));
  const anna = await legacySession(gateway.mcpUrl, 'anna-has-a-long-key', { capabilities: ALL, name: 'anna' });
  await eventually(async () => (await anna.request('tools/list')).text.includes('fresh__held'));
  return { gateway, one, two, shared, plain, fresh, anna };
}

/** A held call and its stream, which begins with a comment: the client has the headers. */
export async function hold(
  client: LegacyClient,
  upstream: ScriptedUpstream,
  name: string,
  id: unknown = 1,
  meta?: Record<string, unknown>,
): Promise<{ held: Call; stream: EventStream }> {
  const opening = client.stream('tools/call', HELD(name, meta), id);
  const held = await upstream.nextCall();
  held.raw(': begun\n\n');
  return { held, stream: await opening };
}

/** The same of a modern client. */
export async function holdModern(
  { mcpUrl }: Gateway,
  key: string,
  upstream: ScriptedUpstream,
  name: string,
  meta: Record<string, unknown> = {},
): Promise<{ held: Call; stream: EventStream }> {
  const { body, headers } = modernRequest('tools/call', { name: `${name}__held` }, { meta });
  const opening = openEvents(mcpUrl, key, body, headers);
  const held = await upstream.nextCall();
  held.raw(': begun\n\n');
  return { held, stream: await opening };
}

export const done = { content: [{ type: 'text', text: 'done' }] };
