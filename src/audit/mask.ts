/** Masks what must not be kept of recorded arguments: values of telling keys, at any depth, and what is too long. */

/** Key names (lower case, separators removed) whose values are never recorded, and endings that tell as much. */
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

const MASK = '[REDACTED]';
/** Arguments above this are not parsed for the record; their digest stands for them. */
const MAX_RECORDED_BYTES = 262_144;

/** The JSON value for the row: parsed, masked (when `mask`), long strings cut at `maxValueBytes`. */
export function maskJson(bytes: Buffer, redactKeys: readonly string[], mask: boolean, maxValueBytes: number): unknown {
  if (bytes.length > MAX_RECORDED_BYTES) return { truncated: `${bytes.length} bytes` };
  const extra = new Set(redactKeys.map(normal));
  const walk = (value: unknown): unknown => {
    // Postgres' jsonb cannot hold U+0000.
    if (typeof value === 'string')
      return cut(value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value, maxValueBytes);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(walk);
    // Without a prototype, so that a key named __proto__ is a key like any other.
    const copy: Record<string, unknown> = Object.create(null);
    for (const [key, member] of Object.entries(value)) {
      copy[key.replaceAll('\0', '\ufffd')] = mask && isTelling(normal(key), extra) ? MASK : walk(member);
    }
    return copy;
  };
  return walk(JSON.parse(bytes.toString('utf8')));
}

const normal = (key: string): string => key.toLowerCase().replace(/[-_. ]/g, '');

function isTelling(key: string, extra: ReadonlySet<string>): boolean {
  return extra.has(key) || EXACT.has(key) || ENDINGS.some((word) => key.endsWith(word));
}

function cut(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text;
  const length = Buffer.byteLength(text);
  return length <= maxBytes ? text : `[TRUNCATED: ${length} bytes]`;
}
