/** One enrichment rule as people write it: see `schema.ts`. What only its source knows is checked by the compiler. */
import { z } from 'zod';
import type { RuleConfig, RuleSource } from './document.ts';
import { checked, description, duration, size, strict } from './fields.ts';
import { mergePathFault, patternFault, plainNameFault, valueNameFault } from './names.ts';

const DAY = 86_400_000;
const SECOND = 1000;
const KIB = 1024;
/** All enrichment of a call has 5 s; a single rule must leave room for its merge. */
const LONGEST_MS = 4500;

const path = z.string().min(1).max(1000);

const constant = z.union(
  [
    z.string().max(10_000),
    z.number().refine((number) => !Number.isInteger(number) || Number.isSafeInteger(number), {
      error: 'has more digits than a number keeps: write it as text',
    }),
    z.boolean(),
    z.null(),
  ],
  { error: 'must be a path such as $.args.id, or a constant: text, a number, true, false or null' },
);

const bind = z
  .record(checked(valueNameFault), constant)
  .default({})
  .describe('Values by name: a path ($.args.id, $.response.id, $.principal.subject, $.item.id) or a constant.');

const conditions = strict({
  exists: z.array(path).min(1).describe('Each of these paths finds something other than null.').exactOptional(),
  equals: z.record(path, constant).describe('Path: the constant that it finds.').exactOptional(),
  matches: z
    .record(path, z.string().max(10_000))
    .describe('Path: a regular expression (RE2) that what it finds matches somewhere.')
    .exactOptional(),
  cel: z.string().min(1).max(10_000).describe('A CEL expression over args, response, principal, tool.').exactOptional(),
}).refine((when) => Object.keys(when).length > 0, 'needs one of exists, equals, matches, cel; leave it out for always');

const when = z.union(
  [
    z
      .string()
      .min(1)
      .max(10_000)
      .transform((cel) => ({ cel })),
    conditions,
  ],
  { error: 'must be a mapping with exists, equals, matches or cel, or the text of a CEL expression' },
);

/** What a rule may ask for, and which keys go with it. */
const ASKS = {
  query: ['use', 'match'],
  request: ['use', 'body', 'rows', 'match'],
  operation: ['use', 'match'],
  tool: ['rows', 'match'],
  preset: ['use'],
} as const;
const KINDS = Object.keys(ASKS) as (keyof typeof ASKS)[];
const DEPENDENT = ['use', 'body', 'rows', 'match'] as const;

const source = strict({
  use: z.string().min(1).describe('Name of the source.').exactOptional(),
  query: z.string().min(1).max(65_536).describe('trino, postgres: one SELECT with :name for values.').exactOptional(),
  request: z.string().min(1).max(4096).describe('http: "GET /accounts/:id", or POST.').exactOptional(),
  body: z.unknown().describe('http: JSON to send; a text ":name" in it is a value.').exactOptional(),
  rows: path.describe('http, tool: path into the answer ($.items) of what becomes rows.').exactOptional(),
  operation: z
    .enum(['entity', 'search', 'glossary_term', 'lineage'])
    .describe('datahub: what to look up.')
    .exactOptional(),
  tool: z.string().min(1).max(256).describe("A tool by its name in the caller's namespace.").exactOptional(),
  preset: z.enum(['table_context', 'query_context']).describe('Ready-made context.').exactOptional(),
  bind,
  match: z
    .record(z.string().min(1).max(200), checked(valueNameFault))
    .describe('With forEach: column of a row: name of the binding that it equals.')
    .exactOptional(),
}).transform((written, context): RuleSource => {
  const asked = KINDS.filter((kind) => written[kind] !== undefined);
  const [kind, another] = asked;
  const refuse = (key: string | undefined, message: string): void =>
    context.addIssue({ code: 'custom', path: key === undefined ? [] : [key], message });
  if (kind === undefined) {
    refuse(undefined, `needs one of ${KINDS.join(', ')}, to say what is asked for`);
    return z.NEVER;
  }
  if (another !== undefined) refuse(another, `has no place beside "${kind}": a rule asks for one thing`);
  const fitting: readonly string[] = ASKS[kind];
  for (const key of DEPENDENT) {
    if (written[key] !== undefined && !fitting.includes(key)) refuse(key, `has no place beside "${kind}"`);
  }
  if (fitting.includes('use') && written.use === undefined) refuse('use', 'is required: the name of a source');
  return written as RuleSource;
});

const merge = strict({
  path: checked(mergePathFault)
    .describe('Where it goes: keys joined by dots. Presets have one of their own.')
    .exactOptional(),
  onConflict: z.enum(['keep', 'replace', 'array']).default('keep').describe('Where something stands there already.'),
  as: z
    .enum(['auto', 'object', 'array'])
    .default('auto')
    .describe('auto: one row becomes an object, several an array.'),
  text: z
    .enum(['append', 'splice', 'keep'])
    .default('append')
    .describe('What becomes of the text: a block more, written into its JSON, or nothing.'),
});

/** Where presets put what they know. */
const PRESET_PATHS = { table_context: 'semantic_context', query_context: 'query_context' } as const;

const ruleShape = {
  enabled: z.boolean().default(true),
  description: description.exactOptional(),
  connection: checked(patternFault).describe('Connections by name or pattern.'),
  tool: checked(patternFault).describe('Tools by the names their upstream gives them; name or pattern.'),
  when: when.describe('When it applies; without this always.').exactOptional(),
  forEach: path.describe('Path of elements ($.response.orders[*]) that are enriched with one request.').exactOptional(),
  source,
  merge: merge.exactOptional(),
  repeat: z
    .enum(['none', 'reference', 'summary'])
    .default('none')
    .describe('What a session has been told already: told again (none), referred to, or summed up.'),
  priority: z.int().min(-1_000_000).max(1_000_000).default(0).describe('The highest runs first, ties by name.'),
  timeout: duration(10, LONGEST_MS).prefault('2s'),
  maxRows: z.int().min(1).max(10_000).default(100),
  maxBytes: size(KIB, 4096 * KIB).default(64 * KIB),
  cache: duration(0, DAY).prefault('0s').describe('How long an answer may be used again.'),
  errorBudget: strict({
    failures: z.int().min(0).max(1_000_000).default(20),
    per: duration(SECOND, DAY).prefault('5m'),
  })
    .prefault({})
    .transform(({ failures, per }) => ({ failures, perMs: per }))
    .describe('More failures than this within that time switch the rule off.'),
};

type Written = z.output<z.ZodObject<typeof ruleShape>>;

function readRule(written: Written, context: z.RefinementCtx): RuleConfig {
  if ('tool' in written.source && written.cache > 0) {
    const message = 'has no place beside "tool": what a tool answers is for its caller alone';
    context.addIssue({ code: 'custom', path: ['cache'], message });
    return z.NEVER;
  }
  const { timeout, cache, merge: wanted = merge.parse({}), ...rest } = written;
  const preset = 'preset' in written.source ? PRESET_PATHS[written.source.preset] : undefined;
  const target = wanted.path ?? preset;
  if (target === undefined) {
    const message = 'needs a "path" such as enrichment.account, to say where the rows go';
    context.addIssue({ code: 'custom', path: ['merge'], message });
    return z.NEVER;
  }
  return { ...rest, merge: { ...wanted, path: target }, timeoutMs: timeout, cacheMs: cache };
}

/** One rule, without its name. */
export const ruleSchema: z.ZodType<RuleConfig> = strict(ruleShape).transform(readRule);

/** One rule of the list in a file. */
export const namedRuleSchema: z.ZodType<RuleConfig & { readonly name: string }> = strict({
  name: checked(plainNameFault),
  ...ruleShape,
}).transform(({ name, ...rest }, context) => ({ name, ...readRule(rest, context) }));
