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

/**
 * What depends on the values in a statement. Their types are part of it, so this is what a text for a number gives, too:
 * where Trino takes a literal of one type only (LIMIT, a time zone), a syntax error.
 */
const BY_VALUES = new Set(
  'SYNTAX_ERROR TYPE_MISMATCH FUNCTION_NOT_FOUND OPERATOR_NOT_FOUND DIVISION_BY_ZERO NUMERIC_VALUE_OUT_OF_RANGE INVALID_FUNCTION_ARGUMENT INVALID_CAST_ARGUMENT INVALID_LITERAL INVALID_ARGUMENTS INVALID_PATH INVALID_WINDOW_FRAME INVALID_LIMIT_CLAUSE PATH_EVALUATION_ERROR JSON_INPUT_CONVERSION_ERROR JSON_VALUE_RESULT_ERROR SUBQUERY_MULTIPLE_ROWS QUERY_TEXT_TOO_LARGE'.split(
    ' ',
  ),
);

/** `error`: the member of that name in an answer of the protocol. `hasValues`: the statement has some, so that they may be what Trino refuses. */
export function queryError(error: Json, hasValues: boolean): SourceError {
  const { message, errorName, errorType } = isObject(error) ? error : {};
  const name = typeof errorName === 'string' ? errorName : 'an error without a name';
  const isOurs = errorType === 'USER_ERROR' || (errorType === 'INSUFFICIENT_RESOURCES' && name.endsWith('_LIMIT'));
  const refusal = hasValues && BY_VALUES.has(name) ? 'bad value' : 'refused';
  const text = typeof message === 'string' ? message : 'no reason was given';
  return new SourceError(BY_NAME[name] ?? (isOurs ? refusal : 'unavailable'), `Trino: ${cut(text)} (${cut(name)})`);
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
    return new SourceError('refused', `${said}, a redirect, which is not followed: correct the URL of the source`);
  if (status === 429) return new SourceError('busy', `${said}: too many requests`);
  if (status >= 500) return new SourceError('unavailable', said);
  return new SourceError('refused', `${said}: ${cut(text.trim())}`);
}

function cut(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
}

/** Something that no Trino says. */
export const badAnswer = (what: string): SourceError =>
  new SourceError('bad answer', `what answers at Trino's URL sent ${what}`);
