/** What an HTTP answer means: rows, none, or why there are none. */
import { type Json, jsonText, parseJson } from '../../mcp/exact-json.ts';
import { type Answer, assertPlain } from '../http-client.ts';
import { selectRows } from '../rows.ts';
import { type Asked, type SourceAnswer, SourceError } from '../source.ts';
import type { HttpRequest } from './template.ts';

const NONE: SourceAnswer = { rows: [], isTruncated: false };

/** Throws SourceError. */
export function rowsOf(answer: Answer, request: HttpRequest, asked: Asked): SourceAnswer {
  const { status } = answer;
  // Nothing is known of what was asked for.
  if (request.method === 'GET' && (status === 404 || status === 410)) return NONE;
  if (status < 200 || status >= 300) throw statusError(status, request.hasValues);
  if (answer.body.length === 0) return NONE;
  assertPlain('it', answer);
  const rows = selectRows(parsed(answer.body), request.rows);
  const allowed = rows.length > asked.maxRows ? rows.slice(0, asked.maxRows) : rows;
  // What is chosen from it is hardly ever more than all of it.
  const kept = answer.body.length <= asked.maxBytes ? allowed : withinBytes(allowed, asked.maxBytes);
  return { rows: kept, isTruncated: kept.length < rows.length };
}

/** What may be the values' fault: no such thing, not allowed at that, too long, not processable. */
const BY_VALUES = new Set([400, 404, 409, 410, 413, 414, 422, 431]);

function statusError(status: number, hasValues: boolean): SourceError {
  if (status >= 300 && status < 400) {
    return new SourceError(
      'refused',
      `it answered with a redirect (${status}), which is not followed: correct the URL or the path`,
    );
  }
  if (status === 401 || status === 403) {
    return new SourceError('refused', `it denied access (${status}): check the headers of the source`);
  }
  if (status === 408 || status === 504) return new SourceError('timeout', `it did not answer in time (${status})`);
  if (status === 429) return new SourceError('busy', 'it answers too many requests already (429)');
  if (status >= 400 && status < 500)
    return new SourceError(
      hasValues && BY_VALUES.has(status) ? 'bad value' : 'refused',
      `it refused the request (${status})`,
    );
  return new SourceError('unavailable', `it failed (${status})`);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Whatever the content type says: that of many an API is wrong. */
function parsed(body: Buffer): Json {
  try {
    return parseJson(UTF8.decode(body));
  } catch {
    throw new SourceError('bad answer', 'its answer is not JSON');
  }
}

function withinBytes(rows: readonly Json[], maxBytes: number): readonly Json[] {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += Buffer.byteLength(jsonText(row));
    if (bytes <= maxBytes) continue;
    if (index === 0) throw new SourceError('too large', `its first row has more than ${maxBytes} bytes`);
    return rows.slice(0, index);
  }
  return rows;
}
