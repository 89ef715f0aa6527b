/** What is examined: the fixture itself, and the gateway between it and clients of either era. */
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { type GatewayOptions, startGateway } from '../support/gateway.ts';
import type { Subject } from './examine.ts';
import { type Era, startFixture } from './fixture/fixture.ts';
import type { SetName } from './sets.ts';

export interface Leg {
  readonly name: string;
  readonly what: string;
  readonly sets: readonly SetName[];
  /** Starts it; everything is ended with the test. */
  start(t: Test): Promise<Subject>;
}

const LEGACY: readonly SetName[] = ['2025-11-25', '2025-06-18', '2025-03-26', '0.1.16 all'];
const BOTH: readonly SetName[] = ['2026-07-28', ...LEGACY];

export const LEGS: readonly Leg[] = [
  { name: 'direct', what: 'the fixture itself', sets: BOTH, start: (t) => fixture(t, 'dual') },
  { name: 'direct-legacy', what: 'the fixture, legacy only', sets: LEGACY, start: (t) => fixture(t, 'legacy') },
  { name: 'direct-modern', what: 'the fixture, modern only', sets: ['2026-07-28'], start: (t) => fixture(t, 'modern') },
  { name: 'gateway', what: 'the gateway before a dual-era server', sets: BOTH, start: (t) => gateway(t, 'dual') },
  {
    name: 'modern-on-legacy',
    what: 'modern clients on a legacy server, through the gateway',
    sets: ['2026-07-28'],
    start: (t) => gateway(t, 'legacy'),
  },
  {
    name: 'legacy-on-modern',
    what: 'legacy clients on a modern server, through the gateway',
    sets: ['2025-11-25'],
    start: (t) => gateway(t, 'modern'),
  },
  {
    name: 'client',
    what: "the gateway as a client of the suite's servers",
    sets: ['2026-07-28', '2025-11-25'],
    start: gatewayAsClient,
  },
];

/** Legs by name, or by the word that a name begins with: `direct` is all three of them. */
export function legsNamed(words: readonly string[]): readonly Leg[] {
  const unknown = words.find((word) => !LEGS.some((leg) => matches(leg, word)));
  if (unknown !== undefined) {
    throw new Error(`There is no leg ${unknown}; there are ${LEGS.map(({ name }) => name).join(', ')}.`);
  }
  return words.length === 0 ? LEGS : LEGS.filter((leg) => words.some((word) => matches(leg, word)));
}

const matches = ({ name }: Leg, word: string): boolean => name === word || name.startsWith(`${word}-`);

async function fixture(t: Test, era: Era): Promise<{ url: string }> {
  const { url, close } = await startFixture({ era });
  t.teardown(close);
  return { url };
}

/** The product as it is started by its users, open to anybody: the suite sends no key, and asks for exact names. */
async function gateway(t: Test, era: Era): Promise<{ url: string }> {
  const upstream = await fixture(t, era);
  const { mcpUrl, ready } = await startGateway(t, openGateway({ fixture: { url: upstream.url } }));
  await ready('fixture');
  return { url: mcpUrl };
}

/** The suite's servers come and go: each is added to a running gateway by the program that the suite starts for it. */
async function gatewayAsClient(t: Test): Promise<{ command: string }> {
  const { adminUrl, adminToken, mcpUrl } = await startGateway(t, openGateway({}));
  const program = fileURLToPath(new URL('client.js', import.meta.url));
  return { command: [process.execPath, program, adminUrl, adminToken, mcpUrl].join(' ') };
}

function openGateway(connections: Record<string, { url: string }>): GatewayOptions {
  const config = {
    connections,
    namespaces: { default: { connections: ['*'], prefix: 'never' } },
    personas: { anybody: { roles: ['anybody'], tools: { allow: ['*'] } } },
    identity: { anonymous: { roles: ['anybody'] } },
  };
  // JSON is YAML.
  return { config: JSON.stringify(config), env: { LOG_LEVEL: 'warn' } };
}
