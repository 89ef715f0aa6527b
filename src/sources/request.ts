/** What a rule asks for, compiled by the kind of source that it asks. Pure. */
import type { RuleSource, SourceType } from '../config/document.ts';
import { compileDataHub } from './datahub/template.ts';
import { compileHttp } from './http/template.ts';
import { compileTool } from './mcp/template.ts';
import { compilePostgres } from './postgres/template.ts';
import type { Compiled, TemplateFault } from './source.ts';
import { compileTrino } from './trino/template.ts';

/** What a rule asks for, as a member of its `source`, and of which kinds of sources it can. */
const ASKS = {
  query: ['trino', 'postgres'],
  request: ['http'],
  operation: ['datahub'],
} as const satisfies Readonly<Record<string, readonly SourceType[]>>;

/** Compiles what a rule asks for. `type`: of the source that it names; undefined: there is none of that name. */
export function compileRequest(
  source: Exclude<RuleSource, { preset: string }>,
  type: SourceType | undefined,
): Compiled {
  if ('tool' in source) return compileTool(source);
  if (type === undefined) return faulty('source.use', `there is no source "${source.use}": add it under "sources"`);
  const asked = 'query' in source ? 'query' : 'request' in source ? 'request' : 'operation';
  if (!(ASKS[asked] as readonly SourceType[]).includes(type)) {
    const [fitting] = (Object.keys(ASKS) as (keyof typeof ASKS)[]).filter((key) =>
      (ASKS[key] as readonly SourceType[]).includes(type),
    );
    return faulty(`source.${asked}`, `the source "${source.use}" is of type ${type}, which takes "${fitting}" instead`);
  }
  if ('query' in source) return type === 'trino' ? compileTrino(source.query) : compilePostgres(source.query);
  return 'request' in source ? compileHttp(source) : compileDataHub(source);
}

const faulty = (path: string, message: string): { readonly faults: readonly TemplateFault[] } => ({
  faults: [{ path, message }],
});
