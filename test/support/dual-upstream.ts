/** One URL that serves both eras, as many servers will for years: each request goes to the half that it is for. */
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { type LegacyOptions, type LegacyUpstream, startLegacy } from './legacy-upstream.ts';
import { type ModernOptions, type ModernUpstream, startModern, VERSION } from './modern-upstream.ts';

export interface DualUpstream {
  readonly url: string;
  readonly legacy: LegacyUpstream;
  readonly modern: ModernUpstream;
}

export async function startDual(t: Test, options: LegacyOptions & ModernOptions = {}): Promise<DualUpstream> {
  const [legacy, modern] = await Promise.all([startLegacy(t, options), startModern(t, options)]);
  const server = createServer((request, response) => {
    const half = request.headers['mcp-protocol-version'] === VERSION ? modern : legacy;
    const { method, headers, url: path } = request;
    const forwarded = send({ port: half.port, host: '127.0.0.1', method, headers, path }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    forwarded.on('error', () => response.destroy());
    response.on('close', () => forwarded.destroy());
    request.pipe(forwarded);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, legacy, modern };
}
