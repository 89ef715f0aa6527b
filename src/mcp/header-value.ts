/** Values that MCP mirrors from a body into headers (MCP 2026-07-28, Streamable HTTP, "Value Encoding"). */

/** Which member of `params` `Mcp-Name` mirrors, by method; tasks by the tasks extension (SEP-2663). */
export const NAMED_BY: ReadonlyMap<string, 'name' | 'uri' | 'taskId'> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

const PREFIX = '=?base64?';
const SUFFIX = '?=';
/** Longer values are refused before they are decoded. Characters. */
const MAX_CHARS = 8192;

/** The value as it travels: as it is where that is safe, else in the Base64 form. */
export function encodeHeaderValue(value: string): string {
  // Nothing at all is not safe: proxies drop a header without a value (Envoy's ext_proc does).
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/.test(value);
  const readsAsEncoded = value.startsWith(PREFIX) && value.endsWith(SUFFIX);
  return isPlain && !readsAsEncoded ? value : `${PREFIX}${Buffer.from(value).toString('base64')}${SUFFIX}`;
}

/** The value that a header stands for; undefined: not a value that a client may send. */
export function decodeHeaderValue(header: string): string | undefined {
  const text = trimmed(header);
  if (text.length > MAX_CHARS || !/^[\x20-\x7e\t]*$/.test(text)) return undefined;
  if (!text.startsWith(PREFIX) || !text.endsWith(SUFFIX) || text.length < PREFIX.length + SUFFIX.length) return text;
  const encoded = text.slice(PREFIX.length, -SUFFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  // Node's decoder skips what is no Base64: only the one spelling counts.
  if (bytes.toString('base64') !== encoded) return undefined;
  const value = bytes.toString('utf8');
  return Buffer.from(value).equals(bytes) ? value : undefined;
}

/** Without the optional white space around a field value (RFC 9110 §5.5); as an expression this is quadratic. */
function trimmed(header: string): string {
  let start = 0;
  let end = header.length;
  while (start < end && isBlank(header.charCodeAt(start))) start++;
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
  return header.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;
