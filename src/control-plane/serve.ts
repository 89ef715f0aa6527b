import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';

/** How long requests may take to finish when the process stops. */
const DRAIN_MS = 2_000;

/** Serves until closed. Fails with a sentence if the port is taken. */
export async function serveHttp(
  fetch: (request: Request) => Response | Promise<Response>,
  host: string,
  port: number,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createAdaptorServer({ fetch }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new Error(cannotListen(error, host, port))));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const deadline = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(deadline);
    },
  };
}

function cannotListen({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  if (code === 'EADDRINUSE')
    return `Port ${port} on ${host} is in use by another process. Choose another with --admin-port.`;
  if (code === 'EACCES')
    return `Port ${port} needs privileges this process does not have. Choose one above 1023 with --admin-port.`;
  return `The admin API cannot listen on ${host}:${port}: ${message}`;
}
