import t from 'tap';
import type { Json } from '../../../src/mcp/exact-json.ts';
import { parseJson } from '../../../src/mcp/exact-json.ts';
import { compileTool, mayWrite, type ToolRequest } from '../../../src/sources/mcp/template.ts';
import { selectRows } from '../../../src/sources/rows.ts';
import type { Template } from '../../../src/sources/source.ts';

function template(source: Parameters<typeof compileTool>[0]): Template {
  const compiled = compileTool(source);
  if ('faults' in compiled) throw new Error(compiled.faults[0]?.message);
  return compiled.template;
}

const item = (definition: object) => ({ name: 'get', definition: JSON.stringify(definition), digest: '' });

t.test('every binding is the argument of its name, of any JSON', (t) => {
  const { names, mayWrite, render } = template({
    tool: 'crm__get_account',
    bind: {
      id: '$.response.id',
      ids: '$.item.id',
      also: "$['item']",
      limit: 5,
      items: '$.response.items',
      __proto__: 1,
    },
  });
  t.same(
    [...names],
    [
      ['id', 'one'],
      ['ids', 'list'],
      ['also', 'list'],
      ['limit', 'one'],
      ['items', 'one'],
    ],
  );
  t.equal(mayWrite, true, 'until the tool is known');
  const values = new Map<string, Json>([
    ['id', parseJson('9007199254740993')],
    ['ids', ['a', 2]],
    ['__proto__', { x: null }],
  ]);
  const request = render(values) as ToolRequest;
  t.equal(request.shown, 'crm__get_account {"id":9007199254740993,"ids":["a",2],"__proto__":{"x":null}}');
  t.equal(Object.getPrototypeOf(request.args), Object.prototype);
  t.same(Object.keys(request.args), ['id', 'ids', '__proto__']);
  t.equal(request.rows, undefined);
  t.equal(request.key, (render(values) as ToolRequest).key);
  t.not(request.key, render(new Map([...values, ['id', 9007199254740992]])).key);
  t.ok(render(new Map([['id', 'x'.repeat(100_000)]])).shown.length < 10_000);
  t.end();
});

t.test('rows of an answer', (t) => {
  t.match(compileTool({ tool: 'x', rows: '$.a[', bind: {} }), { faults: [{ path: 'source.rows', message: /column/ }] });
  const { rows } = template({ tool: 'x', rows: '$.accounts', bind: {} }).render(new Map()) as ToolRequest;
  t.same(selectRows({ accounts: [1, 2] }, rows), [1, 2]);
  t.same(selectRows({ accounts: { id: 1 } }, rows), [{ id: 1 }]);
  t.same(selectRows({}, rows), []);
  const { rows: each } = template({ tool: 'x', rows: '$.a[*].b', bind: {} }).render(new Map()) as ToolRequest;
  t.same(selectRows({ a: [{ b: 1 }, { b: 2 }, {}] }, each), [1, 2]);
  t.same(selectRows([1, 2], undefined), [1, 2]);
  t.same(selectRows({ a: 1 }, undefined), [{ a: 1 }]);
  t.same(selectRows(null, undefined), []);
  t.end();
});

t.test('only a tool that says so is known to read only', (t) => {
  t.equal(mayWrite(item({ annotations: { readOnlyHint: true } })), false);
  for (const annotations of [undefined, null, {}, { readOnlyHint: false }, { readOnlyHint: 'true' }, 'x', []]) {
    t.equal(mayWrite(item({ annotations })), true, JSON.stringify(annotations));
  }
  t.end();
});
