import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';

/** Statuses with which Envoy says that something behind it is not there yet. */
const NOT_YET = new Set([500, 502, 503, 504]);

/** Whether the MCP listener answers. The path is none of MCP's, so nothing is recorded as a call. */
export function listenerAnswers(options: { host: string; port: number; tls: boolean }): Promise<boolean> {
  const { host, port, tls } = options;
  const target = { host, port, path: '/', timeout: 1_000, agent: false };
  return new Promise((resolve) => {
    const onAnswer = (status: number | undefined): void => resolve(!NOT_YET.has(status ?? 500));
    const call = tls
      ? // Whose certificate it is does not matter here; whether the listener speaks does.
        requestHttps({ ...target, rejectUnauthorized: false }, (answer) => onAnswer(answer.resume().statusCode))
      : requestHttp(target, (answer) => onAnswer(answer.resume().statusCode));
    call.once('timeout', () => call.destroy());
    call.once('error', (error: NodeJS.ErrnoException) => {
      // The listener that wants a client certificate answers by refusing us.
      resolve(tls && (error.code ?? '').startsWith('ERR_SSL'));
    });
    call.end();
  });
}

/** The address under which this machine reaches what listens on `host`. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** `http://host:port`, with the brackets an IPv6 address needs. */
export function originOf(scheme: 'http' | 'https', host: string, port: number): string {
  const name = reachableHost(host);
  return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${port}`;
}
