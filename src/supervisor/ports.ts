import { createServer, type Server } from 'node:net';
import { StartError } from './start-error.ts';

/** One port to have: 0 means any free one. `flag` is what the operator would change. */
export interface PortRequest {
  readonly host: string;
  readonly port: number;
  readonly flag: string;
}

/**
 * The ports to use, tried out first: Envoy shares its ports (SO_REUSEPORT), so it would not notice that another
 * program has them. All are held until each is known, so that no two requests get the same one.
 */
export async function choosePorts(requests: readonly PortRequest[]): Promise<number[]> {
  const held: Server[] = [];
  try {
    for (const request of requests) held.push(await hold(request));
    return held.map((server) => (server.address() as { port: number }).port);
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

function hold({ host, port, flag }: PortRequest): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => reject(new StartError(reasonOf(error, host, port, flag))));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

function reasonOf(error: NodeJS.ErrnoException, host: string, port: number, flag: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is in use. Choose another with ${flag} (0 picks a free one), or stop the program that has it.`;
    case 'EACCES':
      return `Port ${port} on ${host} needs privileges this process does not have. Choose one above 1023 with ${flag}.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${host} is no address of this machine. Use 127.0.0.1, 0.0.0.0 or one of its own addresses.`;
    default:
      return `Cannot listen on ${host}:${port} (${error.message}). Choose another port with ${flag}.`;
  }
}
