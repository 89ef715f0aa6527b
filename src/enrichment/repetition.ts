/** Context that a session has been told already is not told again in full, where its rule says so. */
import { isObject, type Json, jsonText } from '../mcp/exact-json.ts';
import type { CompiledRule } from './rule.ts';
import type { Tellings } from './tellings.ts';

export interface Repetition {
  /** What is said. */
  readonly value: Json;
  readonly isAgain: boolean;
  /** What it counts as told by, once it is said; undefined: that is not remembered. */
  readonly context: string | undefined;
  /** Of JSON. */
  readonly bytes: number;
  readonly tokensSaved: number;
}

/** Rough, and the same for every model: the usual estimate for English and JSON. */
const BYTES_PER_TOKEN = 4;
/** Members that sum a context up. */
const SUMMARY_MEMBERS = 3;

/**
 * The first time, a context carries its name in `context`; later the name stands for it (`reference`), or the name and the
 * first few plain members (`summary`). What is not larger than its reference is always said.
 */
export function repeated(rule: CompiledRule, value: Json, tellings: Tellings | undefined): Repetition {
  const text = jsonText(value);
  const bytes = Buffer.byteLength(text);
  const how = rule.config.repeat;
  if (how === 'none' || tellings === undefined) {
    return { value, isAgain: false, context: undefined, bytes, tokensSaved: 0 };
  }
  const context = `${rule.id} ${text}`;
  const { name, again } = tellings.look(context);
  if (!again) return { value: named(name, value), isAgain: false, context, bytes, tokensSaved: 0 };
  const short = { ...(how === 'summary' && summary(value)), context: name, note: SAID_BEFORE };
  const shortBytes = Buffer.byteLength(jsonText(short));
  if (shortBytes >= bytes) return { value, isAgain: false, context, bytes, tokensSaved: 0 };
  return {
    value: short,
    isAgain: true,
    context,
    bytes: shortBytes,
    tokensSaved: Math.round((bytes - shortBytes) / BYTES_PER_TOKEN),
  };
}

const SAID_BEFORE = 'unchanged since it was given earlier in this session under this name';

/** A list has no place for a name. */
const named = (name: string, value: Json): Json =>
  isObject(value) ? { context: name, ...value } : { context: name, rows: value };

function summary(value: Json): Record<string, Json> {
  const first = Array.isArray(value) ? (value as readonly Json[])[0] : value;
  if (first === undefined || !isObject(first)) return {};
  const plain = Object.entries(first).filter(
    ([, member]) => typeof member !== 'object' && String(member).length <= 200,
  );
  return Object.fromEntries(plain.slice(0, SUMMARY_MEMBERS));
}
