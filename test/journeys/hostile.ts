/** A stand for journeys with servers and clients that misbehave: every way through the direct path, held open. */
import { readFileSync } from 'node:fs';
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

export const done = { content: [{ type: 'text', text: 'done' }] };
export const MIB = 1 << 20;

export async function stand(t: Test) {
  const [old, fresh] = await Promise.all([startLegacy(t), startModern(t)]);
  const gateway = await startGateway(t, {
    config: `
connections:
  old: { url: "${old.url}", timeout: 4s }
  fresh: { url: "${fresh.url}" }
`,
  });
  await Promise.all(['old', 'fresh'].map((name) => gateway.ready(name)));
  const legacy = await legacySession(gateway.mcpUrl, gateway.key);
  await eventually(async () => {
    const { text } = await legacy.request('tools/list');
    return text.includes('old__held') && text.includes('fresh__held');
  });
  return { gateway, old, fresh, legacy };
}

type Opened = Promise<{ held: Call; stream: Promise<EventStream> }>;
export interface Way {
  readonly name: string;
  readonly upstream: ScriptedUpstream;
  /** `padding`: long requests are treated differently from short ones (data-plane/conversation.ts). */
  open(padding?: string): Opened;
}

/** Every way through the direct path. */
export function ways(gateway: Gateway, legacy: LegacyClient, old: ScriptedUpstream, fresh: ScriptedUpstream): Way[] {
  const { mcpUrl, key } = gateway;
  const of = (name: string, upstream: ScriptedUpstream, era: 'legacy' | 'modern'): Way => ({
    name: `${era} client, ${name} server`,
    upstream,
    async open(padding = '') {
      const params = { name: `${name}__held`, ...(padding !== '' && { arguments: { padding } }) };
      const { body, headers } = modernRequest('tools/call', params);
      const stream = era === 'legacy' ? legacy.stream('tools/call', params) : openEvents(mcpUrl, key, body, headers);
      return { held: await upstream.nextCall(), stream };
    },
  });
  return [
    of('old', old, 'legacy'),
    of('fresh', fresh, 'legacy'),
    of('old', old, 'modern'),
    of('fresh', fresh, 'modern'),
  ];
}

/** Resident memory of one of the gateway's processes, in MiB. */
export function residentMib(gateway: Gateway, name: string): number {
  const pid = Object.entries(gateway.children()).find(([key]) => key.startsWith(name))?.[1];
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

export const idOf = (call: Call): string => JSON.stringify(call.message.id);
export const resultText = (call: Call, result: unknown = done): string =>
  `{"jsonrpc":"2.0","id":${idOf(call)},"result":${JSON.stringify(result)}}`;
export const toolText = ({
  message,
}: {
  message: { result?: Record<string, unknown>; error?: { message: string } };
}): string => message.error?.message ?? (message.result?.content as { text: string }[] | undefined)?.[0]?.text ?? '';
