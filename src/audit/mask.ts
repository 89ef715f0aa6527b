/** Masks what must not be kept of recorded arguments: values of telling keys, at any depth, and what is too long. */
import { isTellingName, plainName } from '../config/telling-names.ts';
import { skipSpace, skipString, skipValue, stringAt } from '../mcp/json.ts';
import { type Edit, splice } from '../mcp/splice.ts';

const MASK = '"[REDACTED]"';
/** More than this is not kept; its digest stands for it. */
const MAX_RECORDED_BYTES = 262_144;

/**
 * JSON text for the row: the bytes as they were sent, with the values of telling keys replaced (when `mask`) and strings
 * of more than `maxValueBytes` cut. Nothing is parsed, so numbers keep all their digits. `bytes` are well-formed JSON.
 */
export function maskJson(bytes: Buffer, redactKeys: readonly string[], mask: boolean, maxValueBytes: number): string {
  if (bytes.length > MAX_RECORDED_BYTES) return `{"truncated":"${bytes.length} bytes"}`;
  const edits: Edit[] = [];
  const isTelling = mask ? tellingKeys(redactKeys) : () => false;

  const walk = (at: number): number => {
    const first = bytes[at];
    if (first === 0x7b || first === 0x5b) return walkContainer(at, first === 0x7b);
    const end = skipValue(bytes, at, 0);
    const length = end - at - 2;
    if (first === 0x22 && length > maxValueBytes) {
      edits.push({ start: at, end, with: `"[TRUNCATED: ${length} bytes]"` });
    }
    return end;
  };
  const walkContainer = (at: number, isObject: boolean): number => {
    const close = isObject ? 0x7d : 0x5d;
    let position = skipSpace(bytes, at + 1);
    while (bytes[position] !== close) {
      if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
      position = skipSpace(bytes, isObject ? walkMember(position) : walk(position));
    }
    return position + 1;
  };
  const walkMember = (at: number): number => {
    const keyEnd = skipString(bytes, at);
    const value = skipSpace(bytes, skipSpace(bytes, keyEnd) + 1);
    if (!isTelling(stringAt(bytes, at, keyEnd))) return walk(value);
    const end = skipValue(bytes, value, 0);
    edits.push({ start: value, end, with: MASK });
    return end;
  };
  walk(skipSpace(bytes, 0));
  return splice(bytes, edits).toString('utf8');
}

const judges = new WeakMap<readonly string[], (key: string) => boolean>();
/** Keys are chosen by callers: no more of them than this are remembered. */
const MAX_JUDGED = 10_000;

/** Whether a key's value is masked. Remembered per key: the same tools are called with the same keys. */
function tellingKeys(redactKeys: readonly string[]): (key: string) => boolean {
  let judge = judges.get(redactKeys);
  if (judge === undefined) {
    const extra = new Set(redactKeys.map(plainName));
    const known = new Map<string, boolean>();
    judge = (key) => {
      let isTelling = known.get(key);
      if (isTelling === undefined) {
        const name = plainName(key);
        isTelling = extra.has(name) || isTellingName(name);
        if (known.size >= MAX_JUDGED) known.clear();
        known.set(key, isTelling);
      }
      return isTelling;
    };
    judges.set(redactKeys, judge);
  }
  return judge;
}
