/** What Trino is told about us with every request, and what a source may not be asked with. */
import type { TrinoSource } from '../../config/document.ts';
import { isLoopback } from '../../config/names.ts';

/** In a source's definition secrets are plain strings. */
export function connectionHeaders(config: TrinoSource): Readonly<Record<string, string>> {
  const { user, password, token, catalog, schema } = config;
  const headers: Record<string, string> = {
    'x-trino-user': user,
    'x-trino-source': 'sallyport',
    // Without it times come with three digits of a second.
    'x-trino-client-capabilities': 'PARAMETRIC_DATETIME',
    'user-agent': 'sallyport',
    accept: 'application/json',
  };
  if (catalog !== undefined) headers['x-trino-catalog'] = catalog;
  if (schema !== undefined) headers['x-trino-schema'] = schema;
  if (typeof token === 'string') headers.authorization = `Bearer ${token}`;
  else if (typeof password === 'string')
    headers.authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return headers;
}

/** Why the credential must not be sent. */
export function credentialFault({ password, token }: TrinoSource, url: URL): string | undefined {
  if (password === undefined && token === undefined) return undefined;
  if (url.protocol === 'https:' || isLoopback(url.href)) return undefined;
  return "the source's password or token would travel unencrypted: write its url with https";
}

/**
 * Session properties: the source's own, and the time that is left as Trino's own limits, in case our word to
 * end it never arrives.
 */
export function sessionHeaders(config: TrinoSource, timeoutMs: number): Readonly<Record<string, string>> {
  const limit = `${Math.max(1, Math.ceil(timeoutMs))}ms`;
  const properties = { query_max_run_time: limit, query_max_execution_time: limit, ...config.session };
  const pairs = Object.entries(properties).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return { 'x-trino-session': pairs.join(',') };
}
