import { request } from 'node:http';
import { within } from './processes.ts';

/**
 * Tells Envoy to close connections as their requests finish, and waits until none is in flight or the time is over.
 * An Envoy that does not answer is not waited for.
 */
export async function drainEnvoy(socketPath: string, withinMs: number): Promise<void> {
  if ((await ask(socketPath, 'POST', '/drain_listeners?graceful&skip_exit')) === undefined) return;
  let active = await activeRequests(socketPath);
  let asking = false;
  await within(withinMs, () => {
    if (active === 0) return true;
    if (!asking) {
      asking = true;
      void activeRequests(socketPath).then((count) => {
        active = count;
        asking = false;
      });
    }
    return false;
  });
}

/** How many processors or relays Envoy's health checks have found; calls before that would fail. */
export async function healthyMembers(socketPath: string, cluster: string): Promise<number> {
  const stats = await ask(socketPath, 'GET', `/stats?filter=^cluster\\.${cluster}\\.membership_healthy$`);
  return Number(/: (\d+)$/m.exec(stats ?? '')?.[1] ?? 0);
}

/** Requests of agents in flight. What we ourselves have open to upstreams may stay open for hours. */
async function activeRequests(socketPath: string): Promise<number> {
  const stats = await ask(socketPath, 'GET', '/stats?filter=^http\\.mcp\\.downstream_rq_active$');
  return Number(/: (\d+)$/m.exec(stats ?? '')?.[1] ?? 0);
}

function ask(socketPath: string, method: string, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const call = request({ socketPath, method, path, timeout: 300, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        body += chunk;
      });
      response.once('end', () => resolve(response.statusCode === 200 ? body : undefined));
    });
    call.once('timeout', () => call.destroy());
    call.once('error', () => resolve(undefined));
    call.end();
  });
}
