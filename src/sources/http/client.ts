/** An HTTP API as a source: the origin and the path prefix of its URL, and nothing else, whatever a rule or an answer says. */
import type { HttpSource } from '../../config/document.ts';
import { type Asked, type SourceClient, SourceError } from '../source.ts';
import { rowsOf } from './answer.ts';
import { openOrigin } from './exchange.ts';
import type { HttpRequest } from './template.ts';

/**
 * An answer may be larger than what is kept of it: a rule's `rows` picks from it. JSON cannot be cut, so what is
 * larger than this many bytes is refused as a whole.
 */
const answerLimit = (maxBytes: number): number => Math.max(4 * maxBytes, 1_048_576);

export function openHttp(config: HttpSource): SourceClient {
  const url = new URL(config.url);
  const prefix = url.pathname.replace(/\/+$/, '');
  const origin = openOrigin(url, config.maxConcurrent);
  const headers = {
    accept: 'application/json',
    'user-agent': 'sallyport',
    ...written(config.headers),
    // A small answer may unpack to a large one.
    'accept-encoding': 'identity',
  };

  return {
    async ask(rendered, asked: Asked) {
      const { method, path, body } = rendered as HttpRequest;
      const answer = await origin.exchange({
        method,
        path: prefix + path,
        headers: method === 'GET' ? headers : { ...headers, ...describe(body) },
        body,
        signal: asked.signal,
        maxBytes: answerLimit(asked.maxBytes),
      });
      return rowsOf(answer, rendered as HttpRequest, asked);
    },
    async test(signal) {
      const path = prefix === '' ? '/' : prefix;
      try {
        const { status, server } = await origin.exchange({ method: 'GET', path, headers, signal, maxBytes: 1_048_576 });
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
      origin.close();
    },
  };
}

/** What the body is, of a POST; its length is also told where there is none. */
function describe(body: string | undefined): Record<string, string> {
  if (body === undefined) return { 'content-length': '0' };
  return { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
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
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLocal && Object.keys(config.headers).length > 0) {
    found.push('its headers are sent unencrypted: use https');
  }
  return found.length > 0 ? { notes: found } : {};
}
