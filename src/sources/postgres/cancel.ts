/** Ends what a connection's server process is doing, from beside it (CancelRequest): nothing goes on that nobody waits for. */
import pg from 'pg';
import { type GuardedClient, guard, type Wire } from './guarded-client.ts';
import type { Location } from './location.ts';

/** A server that does not even take a cancellation for this long, in milliseconds, is left alone. */
const PATIENCE_MS = 2_000;

type CancelWire = Wire & {
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
  on(event: string, listener: () => void): void;
};

/** Settles once the server has taken it, or cannot (false). Never rejects. */
export function cancel(location: Location, { processID, secretKey }: GuardedClient): Promise<boolean> {
  if (processID === null || secretKey === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    const wire = new pg.Connection({ ssl: location.ssl || false }) as unknown as CancelWire;
    guard(wire);
    let isTaken = true;
    const fail = (): void => {
      isTaken = false;
      wire.stream.destroy();
    };
    const timer = setTimeout(fail, PATIENCE_MS);
    const send = (): void => wire.cancel(processID, secretKey);
    wire.on('connect', location.ssl ? () => wire.requestSsl() : send);
    wire.on('sslconnect', send);
    wire.on('error', fail);
    wire.on('end', () => {
      clearTimeout(timer);
      resolve(isTaken);
    });
    if (location.host.startsWith('/')) wire.connect(`${location.host}/.s.PGSQL.${location.port}`);
    else wire.connect(location.port, location.host);
  });
}
