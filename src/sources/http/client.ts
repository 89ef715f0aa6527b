/** An HTTP API as a source: the origin and the path prefix of its URL, and nothing else, whatever a rule or an answer says. */
import type { HttpSource } from '../../config/document.ts';
import { isLoopback } from '../../config/names.ts';
import { openHttpClient } from '../http-client.ts';
import { type Asked, type SourceClient, SourceError } from '../source.ts';
import { rowsOf } from './answer.ts';
import type { HttpRequest } from './template.ts';

/**
 * An answer may be larger than what is kept of it: a rule's `rows` picks from it. JSON cannot be cut, so what is
 * larger than four times that, and than this many bytes, is refused as a whole.
 */
const LEAST_LIMIT = 1_048_576;

export function openHttp(config: HttpSource): SourceClient {
  const url = new URL(config.url);
  const client = openHttpClient({
    url,
    name: 'it',
    headers: { accept: 'application/json', 'user-agent': 'sallyport', ...written(config.headers) },
    maxBytes: LEAST_LIMIT,
  });

  return {
    async ask(rendered, asked: Asked) {
      const { method, path, body } = rendered as HttpRequest;
      const answer = await client.send({
        method,
        path,
        headers: body === undefined ? undefined : { 'content-type': 'application/json' },
        body,
        signal: asked.signal,
        maxBytes: Math.max(4 * asked.maxBytes, LEAST_LIMIT),
      });
      return rowsOf(answer, rendered as HttpRequest, asked);
    },
    async test(signal) {
      try {
        const { status, headers } = await client.send({ method: 'GET', path: '', signal });
        const server = headers.server?.toString();
        if (status === 401 || status === 403) {
          return { ok: false, error: `it denied access (${status}): check the headers of the source` };
        }
        return { ok: true, ...(server !== undefined && { server }), ...notes(config, url, status) };
      } catch (error) {
        if (error instanceof SourceError && error.kind === 'too large') return { ok: true };
        return { ok: false, error: (error as Error).message };
      }
    },
    async close() {
      client.close();
    },
  };
}

/** In a source's definition secrets are plain strings. */
function written(headers: HttpSource['headers']): Record<string, string> {
  const plain = Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(plain.map(([name, value]) => [name.toLowerCase(), value]));
}

function notes(config: HttpSource, url: URL, status: number): { notes?: readonly string[] } {
  const found: string[] = [];
  if (status >= 300 && status < 400) {
    found.push(`it answers its URL with a redirect (${status}); redirects are never followed`);
  }
  if (url.protocol === 'http:' && !isLoopback(url.href) && Object.keys(config.headers).length > 0) {
    found.push('its headers are sent unencrypted: use https');
  }
  return found.length > 0 ? { notes: found } : {};
}
