/** Names whose values are secrets, wherever they stand: recorded arguments, query parameters. */

const EXACT = new Set(['auth', 'jwt', 'pass', 'pin', 'pwd', 'secrets', 'tokens']);
const ENDINGS = [
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'apikey',
  'apikeys',
  'accesskey',
  'privatekey',
  'authorization',
  'connectionstring',
  'credential',
  'credentials',
  'cookie',
];

/** A name as it is compared: lower case, without separators (`Client-Secret`, `client_secret`). */
export const plainName = (name: string): string => name.toLowerCase().replace(/[-_. ]/g, '');

/** Whether a plain name tells that its value is a secret. */
export function isTellingName(plain: string): boolean {
  return EXACT.has(plain) || ENDINGS.some((word) => plain.endsWith(word));
}
