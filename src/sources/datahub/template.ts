/** A rule's operation on DataHub → a GraphQL request with variables. */
import type { Bindings, RuleSource } from '../../config/document.ts';
import { ExactNumber, type Json, type JsonObject } from '../../mcp/exact-json.ts';
import { type Bound, type Compiled, type Rendered, type TemplateFault, ValueError } from '../source.ts';
import type { Query } from './queries.ts';
import { isUrn, platformUrn } from './urn.ts';

/** Made by `compileDataHub` or `renderEntities`. */
export interface DataHubRendered extends Rendered {
  readonly query: Query;
  readonly variables: JsonObject;
  /** What becomes rows; `glossary_term`: only terms. */
  readonly answers: Answers;
}
export type Answers =
  | { readonly kind: 'entities'; readonly isTerm: boolean; readonly columns: Columns }
  | { readonly kind: 'search' }
  | { readonly kind: 'term named'; readonly name: string }
  | { readonly kind: 'lineage'; readonly direction: string };

/** Which columns of datasets are told: all, or only those of which something is known besides their type. */
export type Columns = 'none' | 'all' | 'described';

type Operation = Extract<RuleSource, { operation: string }>['operation'];
type Values = ReadonlyMap<string, Bound>;

/** Entities asked for at once. */
export const MAX_URNS = 500;
const MAX_COUNT = 100;
const DEFAULT_COUNT = 10;

interface Known {
  readonly names: Readonly<Record<string, 'one' | 'list'>>;
  /** One of each group must be bound, and only one. */
  readonly required: readonly (readonly string[])[];
  render(values: Values): DataHubRendered;
}

const OPERATIONS: Readonly<Record<Operation, Known>> = {
  entity: {
    names: { urn: 'list', columns: 'one' },
    required: [['urn']],
    render: (values) => renderEntities(urnsOf(values), { columns: flag(values, 'columns') ? 'all' : 'none' }),
  },
  search: {
    names: { query: 'one', types: 'list', platform: 'one', count: 'one' },
    required: [['query']],
    render: renderSearch,
  },
  glossary_term: {
    names: { urn: 'list', name: 'one' },
    required: [['urn', 'name']],
    render: (values) =>
      values.has('urn') ? renderEntities(urnsOf(values), { isTerm: true }) : renderTerm(text(values, 'name')),
  },
  lineage: {
    names: { urn: 'one', direction: 'one', count: 'one' },
    required: [['urn'], ['direction']],
    render: renderLineage,
  },
};

/** `urn` takes one or a list: all are asked for in one request. */
export function compileDataHub(
  source: Pick<Extract<RuleSource, { operation: string }>, 'operation' | 'bind'>,
): Compiled {
  const { operation, bind } = source;
  if (!Object.hasOwn(OPERATIONS, operation)) {
    const message = `there is no operation "${operation}": use ${Object.keys(OPERATIONS).join(', ')}`;
    return { faults: [{ path: 'source.operation', message }] };
  }
  const known = OPERATIONS[operation];
  const faults: TemplateFault[] = [];
  const names = new Map<string, 'one' | 'list'>();
  for (const name of Object.keys(bind)) {
    if (Object.hasOwn(known.names, name)) names.set(name, known.names[name] as 'one' | 'list');
    else faults.push({ path: `source.bind.${name}`, message: `${operation} takes no "${name}", only ${quote(known)}` });
  }
  for (const group of known.required) {
    const bound = group.filter((name) => names.has(name));
    if (bound.length === 1) continue;
    const wanted = group.map((name) => `"${name}"`).join(' or ');
    const message =
      bound.length === 0 ? `${operation} needs ${wanted}: bind it` : `${operation} takes either ${wanted}`;
    faults.push({ path: 'source.bind', message });
  }
  faults.push(...constantFaults(bind));
  if (faults.length > 0) return { faults };
  return { template: { names, mayWrite: false, render: known.render } };
}

const quote = ({ names }: Known): string =>
  Object.keys(names)
    .map((name) => `"${name}"`)
    .join(', ');

/** Constants that can never fit. */
function constantFaults(bind: Bindings): TemplateFault[] {
  const faults: TemplateFault[] = [];
  for (const [name, value] of Object.entries(bind)) {
    if (typeof value === 'string' && value.startsWith('$')) continue;
    try {
      CHECKS[name]?.(new Map([[name, value]]), name);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      faults.push({ path: `source.bind.${name}`, message: error.message });
    }
  }
  return faults;
}

const CHECKS: Readonly<Record<string, (values: Values, name: string) => unknown>> = {
  urn: urnsOf,
  query: text,
  name: text,
  platform: text,
  types,
  direction: directionOf,
  count,
  columns: flag,
};

/** Asks for entities, all at once. Duplicates, and what is no URN, are left out. */
export function renderEntities(
  urns: readonly string[],
  { columns = 'none', isTerm = false }: { readonly columns?: Columns; readonly isTerm?: boolean } = {},
): DataHubRendered {
  const asked = [...new Set(urns)].filter(isUrn);
  const [first] = urns;
  if (asked.length === 0 && first !== undefined) {
    throw new ValueError(`${JSON.stringify(first.slice(0, 200))} is not a URN, such as urn:li:dataset:(…)`);
  }
  if (asked.length > MAX_URNS) {
    throw new ValueError(`${asked.length} entities are asked for at once, which is more than ${MAX_URNS}`);
  }
  return rendered('entities', { urns: asked, columns: columns !== 'none' }, { kind: 'entities', isTerm, columns });
}

function renderSearch(values: Values): DataHubRendered {
  const filters = values.has('platform')
    ? { orFilters: [{ and: [{ field: 'platform', values: [platformUrn(text(values, 'platform'))] }] }] }
    : {};
  const typed = values.has('types') ? { types: types(values, 'types') } : {};
  const input = { query: text(values, 'query'), start: 0, count: count(values), ...typed, ...filters, ...PLAIN };
  return rendered('search', { input }, { kind: 'search' });
}

/** DataHub counts facets and marks what it found unless told not to. */
const PLAIN = { searchFlags: { skipAggregates: true, skipHighlighting: true } };

/** There is no look-up by name: what the search gives is compared. */
function renderTerm(name: string): DataHubRendered {
  const input = { query: name, start: 0, count: DEFAULT_COUNT, types: ['GLOSSARY_TERM'], ...PLAIN };
  return rendered('terms', { input, columns: false }, { kind: 'term named', name });
}

function renderLineage(values: Values): DataHubRendered {
  const urn = text(values, 'urn');
  if (!isUrn(urn))
    throw new ValueError(`${JSON.stringify(urn.slice(0, 200))} is not a URN, such as urn:li:dataset:(…)`);
  const direction = directionOf(values);
  const input = { direction, start: 0, count: count(values) };
  return rendered('lineage', { urn, input }, { kind: 'lineage', direction });
}

function rendered(query: Query, variables: JsonObject, answers: Answers): DataHubRendered {
  const sent = JSON.stringify(variables);
  return { query, variables, answers, shown: `${query} ${sent}`, key: `${query}\n${JSON.stringify(answers)}\n${sent}` };
}

/** What is null or empty is left out: an element without a URN has no entity. */
function urnsOf(values: Values): string[] {
  const bound = values.get('urn');
  const all = (Array.isArray(bound) ? bound : [bound]) as readonly (Json | undefined)[];
  return all
    .filter((value) => value !== null && value !== undefined && value !== '')
    .map((value) => textOf(value, 'urn'));
}

function types(values: Values, name: string): string[] {
  const bound = values.get(name);
  return ((Array.isArray(bound) ? bound : [bound]) as readonly Json[]).map((value) => {
    // `glossary term` as people write it.
    const type = textOf(value, name)
      .trim()
      .replace(/[\s-]+/g, '_')
      .toUpperCase();
    if (!/^[A-Z][A-Z_]*$/.test(type))
      throw new ValueError(`${JSON.stringify(value)} is not a type of entity, such as DATASET`);
    return type;
  });
}

function directionOf(values: Values): 'UPSTREAM' | 'DOWNSTREAM' {
  const direction = text(values, 'direction').toUpperCase();
  if (direction === 'UPSTREAM' || direction === 'DOWNSTREAM') return direction;
  throw new ValueError(`"direction" is UPSTREAM or DOWNSTREAM, not ${JSON.stringify(direction.slice(0, 100))}`);
}

function count(values: Values): number {
  if (!values.has('count')) return DEFAULT_COUNT;
  const number = Number(textOf(values.get('count'), 'count'));
  if (Number.isInteger(number) && number >= 1 && number <= MAX_COUNT) return number;
  throw new ValueError(`"count" is a whole number from 1 to ${MAX_COUNT}`);
}

function flag(values: Values, name: string): boolean {
  const bound = values.get(name);
  if (bound === undefined || typeof bound === 'boolean') return bound ?? false;
  throw new ValueError(`"${name}" is true or false`);
}

function text(values: Values, name: string): string {
  return textOf(values.get(name), name);
}

function textOf(value: Bound | undefined, name: string): string {
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value;
  if (typeof value === 'number') return String(value);
  if (value instanceof ExactNumber) return value.text;
  throw new ValueError(`"${name}" must be a text, and is ${describe(value)}`);
}

function describe(value: Bound | undefined): string {
  if (value === null || value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return value === '' ? 'empty' : 'one with a NUL in it';
  return typeof value === 'boolean' ? 'true or false' : 'an object';
}
