/** What a rule's rows become, and where they go. */
import type { Json } from '../mcp/exact-json.ts';
import type { RuleAnswer } from './ask.ts';
import type { Merge } from './merge.ts';
import type { Note } from './readable.ts';
import { type Repetition, repeated } from './repetition.ts';
import type { CompiledRule, Place, RuleOutcome } from './rule.ts';
import type { Tellings } from './tellings.ts';

export interface Added
  extends Pick<RuleOutcome, 'outcome' | 'reason' | 'bytes' | 'tokensSaved' | 'elements' | 'truncated'> {
  /** For whoever reads the text. */
  readonly note: Note | undefined;
}

const ROOT: Place = [];

export function addToMerge(
  rule: CompiledRule,
  answer: RuleAnswer,
  merge: Merge,
  tellings: Tellings | undefined,
): Added {
  return answer.elements === undefined
    ? addOnce(rule, answer.rows, merge, tellings)
    : addToElements(rule, answer.elements, merge, tellings);
}

function addOnce(rule: CompiledRule, rows: readonly Json[], merge: Merge, tellings: Tellings | undefined): Added {
  const value = shape(rows, rule);
  if (value === undefined) return { outcome: 'empty', note: undefined };
  const said = repeated(rule, value, tellings);
  const { path, onConflict, text } = rule.config.merge;
  if (merge.add({ at: ROOT, path: rule.target, value: said.value, onConflict, text }) === 'kept') {
    return { outcome: 'kept', reason: `something stands at ${path} already`, note: undefined };
  }
  if (said.context !== undefined) tellings?.say(said.context);
  return { ...summed([said]), note: noteOf(rule, said.value) };
}

/** Each element gets the rows of its own values; the text gets them as one list, each beside what it was asked by. */
function addToElements(
  rule: CompiledRule,
  { bound, rows }: NonNullable<RuleAnswer['elements']>,
  merge: Merge,
  tellings: Tellings | undefined,
): Added {
  const { maxRows, merge: how } = rule.config;
  const said: Repetition[] = [];
  const forText: Json[] = [];
  let enriched = 0;
  let kept = 0;
  let isCut = false;
  for (const [key, places] of bound.places) {
    const own = rows.get(key) ?? [];
    isCut ||= own.length > maxRows;
    const value = shape(own.slice(0, maxRows), rule);
    if (value === undefined) continue;
    const one = repeated(rule, value, tellings);
    let isIn = false;
    for (const at of places) {
      const outcome = merge.add({
        at,
        path: rule.target,
        value: one.value,
        onConflict: how.onConflict,
        text: how.text,
      });
      if (outcome === 'kept') kept++;
      else enriched++;
      isIn ||= outcome !== 'kept';
    }
    if (!isIn) continue;
    if (one.context !== undefined) tellings?.say(one.context);
    said.push(one);
    forText.push({ for: key, [how.path]: one.value });
  }
  const elements = [enriched, bound.found] as const;
  if (enriched === 0) {
    return kept === 0
      ? { outcome: 'empty', elements, note: undefined }
      : {
          outcome: 'kept',
          reason: `something stands at ${how.path} of each element already`,
          elements,
          note: undefined,
        };
  }
  return { ...summed(said), elements, ...(isCut && { truncated: true }), note: noteOf(rule, forText) };
}

function summed(said: readonly Repetition[]): Pick<Added, 'outcome' | 'bytes' | 'tokensSaved'> {
  const tokensSaved = said.reduce((sum, one) => sum + one.tokensSaved, 0);
  return {
    outcome: said.every(({ isAgain }) => isAgain) ? 'repeated' : 'merged',
    bytes: said.reduce((sum, one) => sum + one.bytes, 0),
    ...(tokensSaved > 0 && { tokensSaved }),
  };
}

const noteOf = ({ name, config }: CompiledRule, value: Json): Note => ({
  kind: 'added',
  rule: name,
  path: config.merge.path,
  text: config.merge.text,
  value,
});

/** undefined: there is nothing to add. */
function shape(rows: readonly Json[], { config }: CompiledRule): Json | undefined {
  const [first] = rows;
  if (first === undefined) return undefined;
  switch (config.merge.as) {
    case 'object':
      return first;
    case 'array':
      return rows;
    case 'auto':
      return rows.length === 1 ? first : rows;
  }
}
