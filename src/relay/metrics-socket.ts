/** The relay's figures, for the control plane to read: plain HTTP on a socket of their own. */
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Meters } from '../telemetry/meters.ts';

export async function serveMetrics(socketPath: string, meters: Meters): Promise<{ close(): void }> {
  const server = createServer((_request, response) => {
    meters.text().then(
      (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text),
      () => response.destroy(),
    );
  });
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  return {
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
