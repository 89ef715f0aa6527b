/**
 * Where a source's database is. Only the URL and `tls` count: pg by itself would fill gaps from PGHOST, PGPASSWORD and
 * the like, which are this process's own and nobody else's.
 */
import type { ConnectionOptions } from 'node:tls';
import type { PostgresSource } from '../../config/document.ts';
import { SourceError } from '../source.ts';

export interface Location {
  /** A name, an address or the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** A function: as a value, pg would take an empty one for a missing one. */
  readonly password: () => string;
  readonly ssl: ConnectionOptions | false;
  readonly application_name: string;
  readonly options?: string;
}

/** Throws SourceError; never with the URL in it. */
export function locate({ url, tls }: PostgresSource): Location {
  const parsed = typeof url === 'string' ? parse(url) : undefined;
  if (parsed === undefined) {
    throw new SourceError('unavailable', 'its URL is none: write postgres://user:password@host:5432/database');
  }
  const setting = (name: string): string | undefined => parsed.searchParams.get(name) || undefined;
  const host =
    setting('host') ?? decodeURIComponent(parsed.hostname === NOWHERE ? '' : parsed.hostname.replace(/^\[|\]$/g, ''));
  const user = setting('user') ?? decodeURIComponent(parsed.username);
  if (host === '' || user === '') {
    throw new SourceError(
      'unavailable',
      `its URL names no ${host === '' ? 'host' : 'user'}: write postgres://user:password@host:5432/database`,
    );
  }
  const password = setting('password') ?? decodeURIComponent(parsed.password);
  const options = setting('options');
  return {
    host,
    port: Number(setting('port') ?? (parsed.port || 5432)),
    user,
    database: setting('dbname') ?? (decodeURIComponent(parsed.pathname.slice(1)) || user),
    password: () => password,
    ssl: host.startsWith('/') ? false : encryption(setting('sslmode'), tls),
    application_name: setting('application_name') ?? 'sallyport',
    ...(options !== undefined && { options }),
  };
}

const NOWHERE = 'nowhere.invalid';

function parse(text: string): URL | undefined {
  if (!/^postgres(?:ql)?:\/\//.test(text)) return undefined;
  // `user:password@/database?host=…`, as libpq takes it, is no URL to others.
  const whole = text.replace(/^(\w+:\/\/(?:[^/?#]*@)?)(?=[/?]|$)/, `$1${NOWHERE}`);
  try {
    const url = new URL(whole);
    for (const part of [url.username, url.password, url.hostname, url.pathname]) decodeURIComponent(part);
    return url;
  } catch {
    return undefined;
  }
}

/**
 * Encrypted means verified, also for `sslmode=require`, unless `insecure` or `no-verify` says otherwise. Nothing falls
 * back to plain text: `prefer` and `allow` are taken for `require`.
 */
function encryption(mode: string | undefined, tls: PostgresSource['tls']): ConnectionOptions | false {
  if (mode === 'disable' || (mode === undefined && tls === undefined)) return false;
  return {
    ...(tls?.ca !== undefined && { ca: tls.ca }),
    rejectUnauthorized: !(tls?.insecure === true || mode === 'no-verify'),
  };
}

/** Nobody listens in on a socket or the loopback. */
export const isLocal = ({ host }: Location): boolean => /^(?:\/|localhost$|127\.|::1$)/.test(host);
