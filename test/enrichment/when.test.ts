import fc from 'fast-check';
import t from 'tap';
import type { WhenConfig } from '../../src/config/document.ts';
import type { Condition, Root } from '../../src/enrichment/rule.ts';
import { compileWhen } from '../../src/enrichment/when.ts';
import { ExactNumber, type Json } from '../../src/mcp/exact-json.ts';

function when(config: WhenConfig | undefined): Condition {
  const compiled = compileWhen(config);
  if (typeof compiled !== 'function') throw new Error(JSON.stringify(compiled));
  return compiled;
}

const root: Root = {
  args: { id: 7, name: 'Ada', none: null, flag: false, text7: '7', long: 'x'.repeat(300_000) },
  response: {
    customer: { id: 'C-17' },
    orders: [{ id: 1, state: 'open' }, { id: 2, state: 'closed' }, { id: null }],
    exact: new ExactNumber('9007199254740993'),
    decimal: new ExactNumber('0.10'),
  },
  principal: { subject: 'ada', roles: ['analyst'] },
  tool: { name: 'get_order', connection: 'crm' },
};

t.test('conditions that hold', async (t) => {
  for (const config of [
    undefined,
    {},
    { exists: ['$.args.id', '$.response.orders[*].id'] },
    { exists: ['$.args.flag'] },
    { equals: { '$.args.id': 7, '$.args.name': 'Ada', '$.args.none': null, '$.args.flag': false } },
    { equals: { '$.response.orders[*].state': 'closed' } },
    { equals: { '$.response.decimal': 0.1 } },
    { matches: { '$.args.name': '^A', '$.args.id': '^7$', '$.response.exact': '993$' } },
    { matches: { '$.response.orders[*].state': '^clo' } },
    { matches: { '$.principal.roles[*]': 'analyst|admin' } },
    { cel: 'args.id == 7 && response.orders.size() == 3' },
    { exists: ['$.args.id'], equals: { '$.tool.name': 'get_order' }, matches: { '$.args.name': 'd' }, cel: 'true' },
  ] satisfies (WhenConfig | undefined)[]) {
    t.equal(when(config)(root), undefined, JSON.stringify(config));
  }
});

t.test('conditions that do not, with the reason', async (t) => {
  for (const [config, reason] of [
    [{ exists: ['$.args.id', '$.args.absent'] }, '$.args.absent does not exist'],
    [{ exists: ['$.args.none'] }, '$.args.none does not exist'],
    [{ exists: ['$.response.orders[2].id'] }, '$.response.orders[2].id does not exist'],
    [{ equals: { '$.args.id': '7' } }, '$.args.id is not what `equals` says'],
    [{ equals: { '$.args.text7': 7 } }, '$.args.text7 is not what `equals` says'],
    [{ equals: { '$.args.flag': 0 } }, '$.args.flag is not what `equals` says'],
    [{ equals: { '$.args.absent': null } }, '$.args.absent is not there'],
    [{ equals: { '$.response.exact': 9007199254740992 } }, '$.response.exact is not what `equals` says'],
    [{ matches: { '$.args.name': '^B' } }, '$.args.name does not match'],
    [{ matches: { '$.args.none': 'null' } }, '$.args.none is neither a text nor a number'],
    [{ matches: { '$.args.absent': '' } }, '$.args.absent is not there'],
    [{ matches: { '$.args.long': 'y' } }, '$.args.long is too long for its pattern'],
    [{ cel: 'args.id == 8' }, 'the CEL condition does not hold'],
    [{ cel: 'args.absent == 8' }, 'the CEL condition fails: line 1, column 6: no such key `absent`'],
    [{ cel: 'item.id == 8 || true' }, undefined],
    [{ exists: ['$.args.id'], cel: 'false' }, 'the CEL condition does not hold'],
    [{ exists: ['$.args.absent'], cel: 'true' }, '$.args.absent does not exist'],
  ] satisfies [WhenConfig, string | undefined][]) {
    if (reason === undefined) t.notOk(typeof compileWhen(config) === 'function', JSON.stringify(config));
    else t.equal(when(config)(root), reason, JSON.stringify(config));
  }
});

t.test('every fault is told, where it is', async (t) => {
  t.match(
    compileWhen({
      exists: ['$.args.id', '$.args['],
      equals: { 'args.id': 1 },
      matches: { '$.args.name': '(', '$.response..[?(@.x)]': 'x' },
      cel: 'args.id ==',
    }),
    {
      faults: [
        { path: 'when.exists[1]', message: /^column 8: / },
        { path: 'when.equals["args.id"]', message: /^column 1: / },
        { path: 'when.matches["$.args.name"]', message: /missing closing/ },
        { path: 'when.matches["$.response..[?(@.x)]"]', message: /^column 14: filters/ },
        { path: 'when.cel', message: /^line 1, column 11: / },
      ],
    },
  );
});

t.test('reasons never hold values', async () => {
  const secret = 'VALUE-TOP-SECRET';
  const leaf = fc.constantFrom<Json>(secret, [secret], { [secret]: secret }, new ExactNumber('1e400'), null, 1.5);
  const config = fc.constantFrom<WhenConfig>(
    { exists: ['$.args.x.y'] },
    { equals: { '$.args.x': 'other', '$.args.y': 2 } },
    { equals: { '$.args..x': 3 } },
    { matches: { '$.args.x': '^other$', '$.args[*]': '^other$' } },
    { cel: 'args.x > 1' },
    { cel: 'bool(args.x)' },
    { cel: 'args[args.x] == 1' },
    { cel: 'args.x.matches("other")' },
    { cel: 'int(args.x) == 1 || timestamp(args.y) == timestamp(args.x)' },
    { cel: 'args.x + args.y' },
  );
  fc.assert(
    fc.property(config, leaf, leaf, (config, x, y) => {
      const reason = when(config)({ ...root, args: { x, y } });
      return reason === undefined || (!reason.includes(secret) && reason.length < 200);
    }),
    { numRuns: 1_000 },
  );
});

t.test('equals is the equality of types, and of numbers by value', async () => {
  const scalar = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  fc.assert(
    fc.property(scalar, scalar, (found, wanted) => {
      const holds = (value: Json, constant: typeof wanted) =>
        when({ equals: { '$.args.x': constant } })({ ...root, args: { x: value } }) === undefined;
      const exact =
        typeof found === 'number' ? new ExactNumber(Object.is(found, -0) ? '-0.0' : JSON.stringify(found)) : found;
      return holds(found, wanted) === (found === wanted) && holds(found, found) && holds(exact, found);
    }),
  );
});
