/**
 * Trino is the judge: its own parser says whether a value changed the shape of a statement and whether what
 * the scanner takes for a query is one, and its engine gives back the values that were written.
 */
import fc, { type Arbitrary } from 'fast-check';
import t from 'tap';
import { ExactNumber, isEqual, type Json, jsonText } from '../../../src/mcp/exact-json.ts';
import type { Bound, Template } from '../../../src/sources/source.ts';
import { openTrino } from '../../../src/sources/trino/client.ts';
import { literal } from '../../../src/sources/trino/literal.ts';
import { compileTrino, type TrinoRequest } from '../../../src/sources/trino/template.ts';
import { startTrino } from '../../support/trino/start.ts';
import { hostileNumber, hostileText, hostileValue, template, wreck } from './generate.ts';

const trino = await startTrino(t);
const { missing } = trino;

/** `FUZZ=10` makes ten times as many. */
const times = Number(process.env.FUZZ ?? 1);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);
t.comment(`seed ${seed}: FUZZ_SEED=${seed} makes the same again`);
const sample = <T>(what: Arbitrary<T>, count: number): T[] => fc.sample(what, { numRuns: count * times, seed });

const values = fc.record({
  v0: hostileValue,
  v1: hostileValue,
  v2: hostileValue,
  v3: hostileValue,
  l0: fc.array(hostileValue, { maxLength: 4 }),
  l1: fc.array(hostileValue, { maxLength: 4 }),
});
type Values = Readonly<Record<string, Bound>>;

/** The same kinds of values, without harm; as many of a list. A minus before a literal is part of it for the parser, but for `DECIMAL '…'`. */
function neutral(value: Bound): Bound {
  if (Array.isArray(value)) return value.map((one: Json) => neutral(one) as Json);
  if (typeof value === 'string') return 'x';
  if (typeof value === 'boolean' || value === null) return value;
  const text = literal(value, 'v');
  return text.startsWith('DECIMAL') ? 1e21 : text.startsWith('(') ? -1 : 1;
}

function render(made: Template, bound: Values): string {
  return (made.render(new Map(Object.entries(bound))) as TrinoRequest).statement;
}

async function judged(pairs: readonly (readonly [string, string])[]): Promise<string[]> {
  const verdicts: string[] = [];
  for (let i = 0; i < pairs.length && trino.missing === false; i += 100)
    verdicts.push(...(await trino.judge(pairs.slice(i, i + 100))));
  return verdicts;
}

const IS_READING = /^same (Query|Show\w+|Describe\w+)$/;

t.test('a value never changes the shape of a statement', { skip: missing }, async (t) => {
  const pairs: [string, string][] = [];
  const refused: string[] = [];
  for (const [text, bound] of sample(fc.tuple(template, values), 3000)) {
    const made = compileTrino(text);
    if ('faults' in made) {
      refused.push(text);
      continue;
    }
    const harmless = Object.fromEntries(Object.entries(bound).map(([name, value]) => [name, neutral(value)]));
    pairs.push([render(made.template, bound), render(made.template, harmless)]);
  }
  const verdicts = await judged(pairs);
  const wrong = verdicts.flatMap((verdict, i) => (verdict === 'same Query' ? [] : [[verdict, ...(pairs[i] ?? [])]]));
  t.comment(`${pairs.length} statements, ${refused.length} templates refused`);
  t.same(wrong.slice(0, 3), []);
  t.same(refused.slice(0, 3), []);
});

t.test('what the scanner takes for a query is one', { skip: missing }, async (t) => {
  const pairs: [string, string][] = [];
  const texts = sample(fc.tuple(wreck, values), 8000);
  for (const [text, bound] of texts) {
    const made = compileTrino(text);
    if ('faults' in made) continue;
    const known = [...made.template.names.keys()].every((name) => name in bound);
    if (!known) continue;
    const scalars = Object.fromEntries(
      Object.entries(bound).map(([name, value]) => [
        name,
        made.template.names.get(name) === 'one' && Array.isArray(value) ? 'x' : value,
      ]),
    );
    const harmless = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, neutral(value)]));
    pairs.push([render(made.template, scalars), render(made.template, harmless)]);
  }
  const verdicts = await judged(pairs);
  const counted = { reading: 0, unparsable: 0 };
  const wrong: string[][] = [];
  verdicts.forEach((verdict, i) => {
    if (IS_READING.test(verdict)) counted.reading++;
    else if (verdict.startsWith('error')) counted.unparsable++;
    else wrong.push([verdict, ...(pairs[i] ?? [])]);
  });
  t.comment(`${texts.length} texts, ${pairs.length} taken: ${jsonText(counted)}`);
  t.same(wrong.slice(0, 3), []);
  t.ok(counted.reading > 300 * times);
});

/** Java writes the smallest doubles with a digit more. */
function isSameDouble(got: Json, sent: Json): boolean {
  return typeof sent === 'number' && Number(got instanceof ExactNumber ? got.text : got) === sent;
}

t.test('every value comes back as it was', { skip: missing }, async (t) => {
  const client = openTrino({
    type: 'trino',
    enabled: true,
    maxConcurrent: 1,
    circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
    url: trino.missing === false ? trino.url : '',
    user: 'fuzz',
    session: {},
  });
  t.teardown(() => client.close());
  const ask = async (query: string, bound: Values): Promise<readonly Json[]> => {
    const made = compileTrino(query);
    if ('faults' in made) throw new Error(made.faults[0]?.message);
    const limits = { signal: AbortSignal.timeout(60_000), timeoutMs: 60_000, maxRows: 20_000, maxBytes: 100_000_000 };
    return (await client.ask(made.template.render(new Map(Object.entries(bound))), limits)).rows;
  };

  const texts = sample(hostileText, 8000);
  const back: Json[] = [];
  for (let i = 0; i < texts.length; i += 2000) {
    const rows = await ask('select s from unnest(array[:texts]) with ordinality as u (s, n) order by n', {
      texts: texts.slice(i, i + 2000),
    });
    back.push(...rows.map((row) => (row as { s: Json }).s));
  }
  t.equal(back.length, texts.length);
  t.same(texts.filter((text, i) => text !== back[i]).slice(0, 3), []);

  const numbers = sample(hostileNumber, 3000);
  const query = `select ${Array.from({ length: 100 }, (_, i) => `:v${i} as c${i}`).join(', ')}`;
  const wrong: string[] = [];
  for (let i = 0; i < numbers.length; i += 100) {
    const some = numbers.slice(i, i + 100);
    const [row] = await ask(
      query,
      Object.fromEntries(query.match(/(?<=:)v\d+/g)?.map((name, k) => [name, some[k] ?? 0]) ?? []),
    );
    some.forEach((number, k) => {
      const got = (row as Record<string, Json>)[`c${k}`] ?? null;
      if (!isEqual(got, number) && !isSameDouble(got, number))
        wrong.push(`${jsonText(number)} came back as ${jsonText(got)}`);
    });
  }
  t.same(wrong.slice(0, 3), []);
  t.comment(`${texts.length} strings, ${numbers.length} numbers`);

  const many = Array.from({ length: 10_000 }, (_, i) => `order-${i}'`);
  const found = await ask(
    "select count(*) n from (select concat('order-', cast(orderkey as varchar), '''') k from tpch.tiny.orders) where k in (:many)",
    { many },
  );
  t.same(found, [{ n: 2503 }]);
});
