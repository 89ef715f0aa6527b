/** Recorded calls without the gateway's own secrets: an upstream may have echoed what it was sent. */
import { ExactNumber, isObject, type Json, jsonText, parseJson } from '../mcp/exact-json.ts';

const REMOVED = '[REDACTED]';
/** What is shorter is found everywhere by chance. */
const SHORTEST = 8;

/** A function that takes every occurrence of the secrets out of JSON, at any depth: keys, text, and JSON inside of text. */
export function secretRemover(secrets: readonly string[]): (value: Json) => Json {
  // The longest first: a secret may begin with another one.
  const sought = [...new Set(secrets.flatMap(withPassword))]
    .filter(({ length }) => length >= SHORTEST)
    .sort((a, b) => b.length - a.length);
  const isSecret = new Set(sought);

  const ofText = (text: string): string => {
    let clean = text;
    for (const secret of sought) if (clean.includes(secret)) clean = clean.replaceAll(secret, REMOVED);
    if (!/^\s*[{["]/.test(clean)) return clean;
    // Within JSON a secret may be written with escapes.
    const inner = jsonOf(clean);
    if (inner === undefined) return clean;
    const [before, after] = [jsonText(inner), jsonText(ofValue(inner))];
    return before === after ? clean : after;
  };
  const ofValue = (value: Json): Json => {
    if (typeof value === 'string') return ofText(value);
    if (typeof value === 'number' || value instanceof ExactNumber)
      return isSecret.has(jsonText(value)) ? REMOVED : value;
    if (Array.isArray(value)) return value.map(ofValue);
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [ofText(key), ofValue(inner)]));
  };
  return sought.length === 0 ? (value) => value : ofValue;
}

/** The URL of a database is one secret with another inside. */
function withPassword(secret: string): string[] {
  if (!/^postgres(ql)?:\/\//.test(secret) || !URL.canParse(secret)) return [secret];
  const { password } = new URL(secret);
  return [secret, password, decoded(password)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function jsonOf(text: string): Json | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
