import { spawn } from 'node:child_process';
import { createServer, type IncomingHttpHeaders, request } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.ts';
import { eventually } from '../support/eventually.ts';
import { isOpen } from './standalone.ts';

/** A real MCP server (server-everything) behind a mirror that keeps what reached it. */
export interface Upstream {
  readonly port: number;
  /** Headers of each request, oldest first. */
  readonly seen: IncomingHttpHeaders[];
  stop(): Promise<void>;
}

export async function startUpstream(): Promise<Upstream> {
  const behind = await freePort();
  const program = join(packageRoot, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js');
  const child = spawn(process.execPath, [program, 'streamableHttp'], {
    env: { ...process.env, PORT: String(behind) },
    stdio: 'ignore',
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await eventually(() => isOpen(behind));
  const seen: IncomingHttpHeaders[] = [];
  const mirror = createServer((incoming, outgoing) => {
    seen.push(incoming.headers);
    const { method = '', url = '', headers } = incoming;
    const onward = request({ host: '127.0.0.1', port: behind, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
    outgoing.on('close', () => onward.destroy());
  });
  // Envoy finds it by the name `localhost`, which may come to either loopback address.
  await new Promise<void>((resolve) => mirror.listen(0, 'localhost', resolve));
  return {
    port: (mirror.address() as AddressInfo).port,
    seen,
    async stop() {
      mirror.close();
      mirror.closeAllConnections();
      child.kill();
      await ended;
    },
  };
}

/** A loopback port that was free just now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createTcpServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
