/**
 * A processor's plain HTTP service, reached through Envoy by the route header alone: answers too big for the gRPC
 * path (three copies there, one here), and the worker's metrics for the control plane.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { listByKey } from '../answers/lists.ts';
import { ANSWER_HEADER } from '../data-plane/reply.ts';
import type { World } from '../data-plane/world.ts';

export interface EdgeServer {
  close(): Promise<void>;
}

/** Listens on a unix socket in the private runtime directory. */
export async function startEdge(socketPath: string, world: World): Promise<EdgeServer> {
  const server = createServer((request, response) => {
    handle(request, response, world).catch((error: unknown) => {
      world.log.error({ err: error }, 'edge answer failed');
      response.destroy();
    });
  });
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  return { close: () => closeServer(server) };
}

async function handle(request: IncomingMessage, response: ServerResponse, world: World): Promise<void> {
  if (request.url === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(await world.meters.text());
    return;
  }
  const key = request.headers[ANSWER_HEADER];
  const snapshot = world.snapshot();
  const parts = typeof key === 'string' && snapshot !== undefined ? listByKey(key, snapshot, world) : undefined;
  if (parts === undefined) {
    const body =
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"The list has just changed. List again."}}';
    response
      .writeHead(503, { 'content-type': 'application/json', 'content-length': body.length, 'retry-after': '1' })
      .end(body);
    return;
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
  response.cork();
  for (const part of parts) response.write(part);
  response.end();
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
