import { existsSync } from 'node:fs';
import { get } from 'node:http';
import { socketsIn } from '../runtime/sockets.ts';

/** A worker that does not answer by then is left out: one scrape never waits for a dead process. */
const WORKER_MS = 1_000;
/** As many as `up` starts at most. */
const MAX_WORKERS = 64;

/** Prometheus text of every processor and relay of this deployment that answers, by worker. */
export async function scrapeWorkers(runtimeDir: string): Promise<Map<string, string>> {
  const sockets = socketsIn(runtimeDir);
  const workers = Array.from({ length: MAX_WORKERS }, (_, index) => index).flatMap((index) => [
    { worker: String(index), socket: sockets.edge(index) },
    { worker: `relay-${index}`, socket: sockets.relayMetrics(index) },
  ]);
  const present = workers.filter(({ socket }) => existsSync(socket));
  const texts = await Promise.all(
    present.map(async ({ worker, socket }): Promise<[string, string | undefined]> => {
      return [worker, await scrape(socket).catch(() => undefined)];
    }),
  );
  return new Map(texts.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function scrape(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path: '/metrics', timeout: WORKER_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`HTTP ${response.statusCode}`)),
      );
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('timed out')));
    request.on('error', reject);
  });
}

/**
 * One exposition out of several: each family once (the format allows no more), its samples told apart by a `worker`
 * label. Text under the empty name keeps its samples as they are.
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function mergeMetrics(texts: ReadonlyMap<string, string>): string {
  const families = new Map<string, { readonly head: string[]; readonly samples: string[] }>();
  for (const [worker, text] of texts) {
    let current = '';
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const comment = /^# (HELP|TYPE) (\S+)/.exec(line);
      if (comment !== null) current = comment[2] as string;
      else if (line.startsWith('#')) continue;
      else if (!line.startsWith(current) || current === '') current = /^[^{\s]+/.exec(line)?.[0] ?? '';
      const family = families.get(current) ?? { head: [], samples: [] };
      families.set(current, family);
      if (comment === null) family.samples.push(worker === '' ? line : labelled(line, worker));
      else if (!family.head.some((known) => known.startsWith(comment[0]))) family.head.push(line);
    }
  }
  return [...families.values()].flatMap(({ head, samples }) => [...head, ...samples, '']).join('\n');
}

function labelled(line: string, worker: string): string {
  const label = `worker="${worker}"`;
  const brace = line.indexOf('{');
  const space = line.indexOf(' ');
  if (brace >= 0 && brace < space)
    return `${line.slice(0, brace + 1)}${label},${line.slice(brace + 1)}`.replace(',}', '}');
  return `${line.slice(0, space)}{${label}}${line.slice(space)}`;
}
