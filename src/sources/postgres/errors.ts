/** What Postgres, or the way there, said, as a SourceError. */
import pg from 'pg';
import { SourceError } from '../source.ts';

/** By SQLSTATE, or its class (PostgreSQL, appendix A): the longest that fits. All else the server understood and refused. */
const KINDS: Readonly<Record<string, SourceError['kind']>> = {
  '08': 'unavailable',
  // The password or the user is wrong: so will the next request's be.
  '28': 'unavailable',
  '3D': 'unavailable',
  '40': 'busy',
  '53': 'unavailable',
  '53300': 'busy',
  '55P03': 'busy',
  '57': 'unavailable',
  '57014': 'timeout',
  '58': 'unavailable',
};

/** What depends on the values that a query is asked with: data exceptions, and what functions of the database raise. */
const BY_VALUES = /^(?:22|21|P0001)/;

/** `hasValues`: the query was asked with some, so that they may be what Postgres refuses. */
export function toSourceError(error: unknown, hasValues: boolean): SourceError {
  if (error instanceof SourceError) return error;
  const { message, code } = error as { message: string; code?: string };
  if (!(error instanceof pg.DatabaseError) || code === undefined) {
    return new SourceError('unavailable', `cannot be reached: ${message || code || 'the connection failed'}`);
  }
  const kind = KINDS[code] ?? KINDS[code.slice(0, 2)] ?? (hasValues && BY_VALUES.test(code) ? 'bad value' : 'refused');
  return new SourceError(kind, `${message} (SQLSTATE ${code})`);
}

/**
 * A prepared statement that the server does not have, has otherwise, or whose result has changed shape: between us and
 * Postgres somebody shares out connections, or a table was altered. Asking without its name helps.
 */
export function isStalePreparation(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return code === '26000' || code === '42P05' || (code === '0A000' && /cached plan/.test(message ?? ''));
}
