/** A connection's secrets as what is added to its requests. The last place a secret passes before Envoy sends it. */
import type { ConnectionConfig } from '../config/document.ts';
import type { Injection } from '../snapshot/snapshot.ts';

/** `config` with its secrets joined in again (config/secrets.ts joinSecrets). */
export function injectionOf(config: ConnectionConfig, credentialId: string | undefined): Injection {
  const headers: [string, string][] = [];
  for (const [name, value] of Object.entries(config.headers)) headers.push([name.toLowerCase(), value as string]);
  let query: string | undefined;
  const { auth } = config;
  switch (auth.type) {
    case 'none':
      break;
    case 'bearer':
      headers.push(['authorization', `Bearer ${auth.token as string}`]);
      break;
    case 'basic':
      headers.push([
        'authorization',
        `Basic ${Buffer.from(`${auth.username}:${auth.password as string}`).toString('base64')}`,
      ]);
      break;
    case 'api_key':
      if ('header' in auth) headers.push([auth.header.toLowerCase(), auth.value as string]);
      else query = `${encodeURIComponent(auth.query)}=${encodeURIComponent(auth.value as string)}`;
      break;
  }
  return { fault: undefined, credentialId, headers, query };
}

/** For a connection whose secrets cannot be opened: `fault` says why. */
export const brokenInjection = (credentialId: string, fault: string): Injection => ({
  fault,
  credentialId,
  headers: [],
  query: undefined,
});
