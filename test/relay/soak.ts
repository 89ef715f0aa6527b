/**
 * Not a test of the suite: opens many idle event streams through the whole product, holds them, and tells what each costs
 * and how long a change of the catalog takes to reach all of them.
 *
 *     STREAMS=10000 HOLD_S=60 node dist/test/relay/soak.js
 *
 * Each stream is one file descriptor here and one of Envoy's: `ulimit -n` must be above STREAMS by a few hundred.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { legacySession } from '../support/raw-client.ts';

const COUNT = Number(process.env.STREAMS ?? 10_000);
const HOLD_S = Number(process.env.HOLD_S ?? 45);
const AT_ONCE = 32;
const KEY = 'key-of-the-stream-soak';

const teardowns: (() => unknown)[] = [];
const t = { teardown: (f: () => unknown) => void teardowns.unshift(f) } as unknown as Test;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

interface Held {
  readonly socket: Socket;
  text: string;
  bytes: number;
  changedAt: number | undefined;
  isOver: boolean;
}

async function main(): Promise<void> {
  const upstream = await startLegacy(t);
  const gateway = await startGateway(t, {
    config: `
connections: { up: { url: "${upstream.url}", refresh: 1h } }
personas: { all: { roles: [all], tools: { allow: ['*'] }, connections: { allow: ['*'] } } }
identity: { apiKeys: [{ name: all, key: ${KEY}, roles: [all] }] }
`,
  });
  await gateway.ready('up');
  const { relay, envoy, processor } = pids(gateway.children());
  // What any process allocates with its first few streams is no stream's cost.
  const warm = await openAll(gateway.mcpUrl, 200);
  for (const one of warm) one.socket.destroy();
  await pause(3000);
  const before = [relay, envoy, processor].map(rssKiB);
  const begun = performance.now();
  const held = await openAll(gateway.mcpUrl, COUNT);
  print(`${held.length} streams opened in ${seconds(begun)}`);
  await pause(HOLD_S * 1000);
  const after = [relay, envoy, processor].map(rssKiB);
  for (const [i, name] of ['relay', 'Envoy', 'processor'].entries()) {
    const grown = (after[i] ?? 0) - (before[i] ?? 0);
    print(`${name}: ${before[i]} KiB before, ${after[i]} KiB after, ${(grown / held.length).toFixed(1)} KiB a stream`);
  }
  const lost = held.filter(({ isOver }) => isOver).length;
  const silent = held.filter(({ bytes }) => bytes === 0).length;
  print(`after ${HOLD_S} s: ${lost} lost; ${silent} without a keep-alive`);

  const cpuBefore = cpuMs(relay);
  const changed = performance.now();
  upstream.content.tools.push({ name: 'added', inputSchema: { type: 'object' } });
  upstream.notify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  await eventually(() => held.every(({ changedAt, isOver }) => isOver || changedAt !== undefined), 60_000);
  const times = held
    .flatMap(({ changedAt }) => (changedAt === undefined ? [] : [changedAt - changed]))
    .sort((a, b) => a - b);
  const at = (q: number): string =>
    `${Math.round(times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0)} ms`;
  print(`list_changed: first ${at(0)}, half ${at(0.5)}, last ${at(1)}; relay CPU ${cpuMs(relay) - cpuBefore} ms`);
  print(`relay after that: ${rssKiB(relay)} KiB`);

  const closing = performance.now();
  for (const one of held) one.socket.destroy();
  await pause(5000);
  print(`all hung up ${seconds(closing)} ago: relay ${rssKiB(relay)} KiB, Envoy ${rssKiB(envoy)} KiB`);
  const fresh = await openAll(gateway.mcpUrl, 10);
  print(`and ${fresh.length} new ones open`);
  for (const one of fresh) one.socket.destroy();
}

async function openAll(url: string, count: number): Promise<Held[]> {
  const held: Held[] = [];
  let started = 0;
  const worker = async (): Promise<void> => {
    while (started < count) {
      started++;
      const { headers } = await legacySession(url, KEY);
      held.push(await open(url, { ...headers, authorization: `Bearer ${KEY}` }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return held;
}

function open(url: string, headers: Record<string, string>): Promise<Held> {
  const { hostname, port, pathname, host } = new URL(url);
  const all = { host, accept: 'text/event-stream', ...headers };
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const held: Held = { socket, text: '', bytes: 0, changedAt: undefined, isOver: false };
    socket.once('connect', () => {
      const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`GET ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n`);
    });
    let isOpen = false;
    socket.setEncoding('latin1').on('data', (chunk) => {
      if (isOpen) {
        held.bytes += chunk.length;
        if (chunk.includes('list_changed')) held.changedAt ??= performance.now();
        return;
      }
      held.text += chunk;
      if (!held.text.includes('\r\n\r\n')) return;
      if (!held.text.startsWith('HTTP/1.1 200')) reject(new Error(held.text.slice(0, 300)));
      held.text = '';
      isOpen = true;
      resolve(held);
    });
    socket.on('error', reject);
    socket.on('close', () => {
      held.isOver = true;
    });
  });
}

function pids(children: Record<string, number>): { relay: number; envoy: number; processor: number } {
  return { relay: children['relay-0'] ?? 0, envoy: children.envoy ?? 0, processor: children['processor-0'] ?? 0 };
}

const rssKiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);

/** Of 10 ms ticks, user and system (proc(5), fields 14 and 15). */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

try {
  await main();
} finally {
  for (const teardown of teardowns) await teardown();
}
