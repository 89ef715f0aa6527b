import t from 'tap';
import { readHeaders } from '../../src/data-plane/headers.ts';

t.test('two values of one name are a list, never one of them', async (t) => {
  const headers = [
    { key: 'mcp-name', raw_value: Buffer.from('a') },
    { key: 'accept', raw_value: Buffer.from('application/json') },
    { key: 'mcp-name', value: 'b' },
    { key: 'accept', raw_value: Buffer.from('text/event-stream') },
    { key: 'x-empty', raw_value: Buffer.alloc(0) },
  ];
  const read = readHeaders({ headers: { headers } } as Parameters<typeof readHeaders>[0]);
  t.equal(read.get('mcp-name'), 'a, b');
  t.equal(read.get('accept'), 'application/json, text/event-stream');
  t.equal(read.get('x-empty'), '');
});
