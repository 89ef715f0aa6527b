/** What a dry run is asked, and what it answers, as JSON. */
import { z } from 'zod';
import { parseRuleBody } from '../config/bodies.ts';
import { strict } from '../config/fields.ts';
import { toProblem, validate } from '../config/problems.ts';
import { withoutReadOnly } from '../control-plane/named-resource.ts';
import { invalid } from '../control-plane/refusal.ts';
import type { DryRun } from './dry-run.ts';
import { OUTCOMES } from './rule.ts';

const principal = z.union(
  [
    z.string().min(1).max(256),
    strict({
      subject: z.string().min(1).max(256),
      roles: z.array(z.string().min(1)).default([]),
    }),
  ],
  { error: 'must be the name of a key, or { subject, roles }' },
);

export const dryRunBody = strict({
  /** Name of a stored rule, or a draft: a rule with its name. */
  rule: z.union([z.string().min(1), z.looseObject({})], {
    error: 'must be the name of a rule, or a rule with its name',
  }),
  args: z.looseObject({}).exactOptional(),
  /** What the upstream answered: structured content, or a whole result. */
  response: z.unknown().exactOptional(),
  /** Name of the tool, as clients of the namespace see it. */
  tool: z.string().min(1).max(256).exactOptional(),
  namespace: z.string().default('default'),
  auditId: z.string().min(1).max(100).exactOptional(),
  principal: principal.exactOptional(),
  withOthers: z.boolean().default(false),
});

/** Checks a body; `args` and `response` are taken from its text by whoever has it. */
export function readDryRun(json: unknown): Omit<DryRun, 'args' | 'response'> {
  const parsed = validate(dryRunBody, json);
  if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
  const { rule, tool, namespace, auditId, principal: who, withOthers } = parsed.value;
  return { rule: readRule(rule), tool, namespace, auditId, principal: who, withOthers };
}

function readRule(rule: z.output<typeof dryRunBody>['rule']): DryRun['rule'] {
  if (typeof rule === 'string') return rule;
  const parsed = parseRuleBody(withoutReadOnly(rule));
  if ('problems' in parsed) {
    throw invalid(
      parsed.problems.map(({ path, message }) => ({ path: path === '' ? 'rule' : `rule.${path}`, message })),
    );
  }
  const { name = 'draft', config } = parsed.value;
  return { name, config };
}

export const dryRunAnswer = z.object({
  before: z.unknown(),
  after: z.unknown(),
  diff: z.string(),
  trace: z.array(
    z.object({
      rule: z.string(),
      version: z.int(),
      outcome: z.enum(OUTCOMES),
      reason: z.string().optional(),
      source: z.string().optional(),
      query: z.string().optional(),
      cached: z.boolean().optional(),
      rows: z.int().optional(),
      truncated: z.boolean().optional(),
      bytes: z.int().optional(),
      elements: z.tuple([z.int(), z.int()]).optional(),
      ms: z.number(),
    }),
  ),
  warnings: z.array(z.string()),
});
