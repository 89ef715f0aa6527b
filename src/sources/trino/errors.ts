/** What Trino said went wrong, as a SourceError. */
import { isObject, type Json } from '../../mcp/exact-json.ts';
import { SourceError } from '../source.ts';

/** Characters of what Trino says that are passed on. */
const MAX_MESSAGE = 500;

/** By Trino's name of the error (StandardErrorCode); otherwise its type decides. */
const BY_NAME: Readonly<Record<string, SourceError['kind']>> = {
  EXCEEDED_TIME_LIMIT: 'timeout',
  QUERY_QUEUE_FULL: 'busy',
  CLUSTER_OUT_OF_MEMORY: 'busy',
  SERVER_STARTING_UP: 'unavailable',
  SERVER_SHUTTING_DOWN: 'unavailable',
  USER_CANCELED: 'unavailable',
  ADMINISTRATIVELY_KILLED: 'unavailable',
  ABANDONED_QUERY: 'unavailable',
};

/** `error`: the member of that name in an answer of the protocol. */
export function queryError(error: Json): SourceError {
  const { message, errorName, errorType } = isObject(error) ? error : {};
  const name = typeof errorName === 'string' ? errorName : 'an error without a name';
  const isOurs = errorType === 'USER_ERROR' || (errorType === 'INSUFFICIENT_RESOURCES' && name.endsWith('_LIMIT'));
  const text = typeof message === 'string' ? message : 'no reason was given';
  return new SourceError(BY_NAME[name] ?? (isOurs ? 'refused' : 'unavailable'), `Trino: ${cut(text)} (${cut(name)})`);
}

/** An answer that is no page of a result. */
export function statusError(status: number, text: string): SourceError {
  const said = `Trino answered ${status}`;
  if (status === 401)
    return new SourceError('refused', `${said}: user, password or token of the source are not accepted`);
  if (status === 403) return new SourceError('refused', `${said}: the user of the source may not ask`);
  if (status === 404 || status === 410)
    return new SourceError('unavailable', `${said}: it does not know the statement any more`);
  if (status >= 300 && status < 400)
    return new SourceError('bad answer', `${said}, a redirect, which is not followed: correct the URL of the source`);
  if (status === 429) return new SourceError('busy', `${said}: too many requests`);
  if (status >= 500) return new SourceError('unavailable', said);
  return new SourceError('refused', `${said}: ${cut(text.trim())}`);
}

function cut(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
}
