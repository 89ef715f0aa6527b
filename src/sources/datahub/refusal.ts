/** What the head of DataHub's answer says against it. */
import type { AnswerHead } from '../http-client.ts';
import { SourceError } from '../source.ts';

/** Undefined: nothing. */
export function refusalOf({ status, headers }: AnswerHead): SourceError | undefined {
  if (status >= 200 && status < 300) {
    const type = headers['content-type'] ?? '';
    if (!/html/i.test(type)) return undefined;
    return new SourceError('bad answer', 'DataHub answered with a web page: is the URL right?');
  }
  const said = `DataHub answered with HTTP ${status}`;
  if (status === 401 || status === 403) return new SourceError('refused', `${said}: its token is missing or not valid`);
  if (status === 404) return new SourceError('bad answer', `${said}: there is no GraphQL at this URL`);
  if (status === 429) return new SourceError('busy', `${said}: too many requests`);
  if (status >= 300 && status < 400) {
    return new SourceError('refused', `${said}, a redirect, which is not followed: write the URL it leads to`);
  }
  return status >= 500 ? new SourceError('unavailable', said) : new SourceError('refused', said);
}
