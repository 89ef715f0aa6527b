import t from 'tap';
import { type EnvelopeError, parseEnvelope } from '../../src/mcp/envelope.ts';

const read = (text: string) => parseEnvelope(Buffer.from(text));
const call = (params: string) => read(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);

t.test('a key that another parser could take for a judged one is refused', async (t) => {
  const wanted = { code: 'invalid' } satisfies Partial<EnvelopeError>;
  for (const twin of [
    'Name',
    'NAME',
    'n\\u0041me',
    '\\u004eame',
    'URI',
    'TaskID',
    'Arguments',
    '_META',
    'argument\u017f',
  ]) {
    t.throws(() => call(`{"name":"a","${twin}":"b"}`), wanted, twin);
  }
  for (const twin of ['Method', 'ID', 'Params', 'param\u017f', 'JSONRPC', 'Result']) {
    t.throws(() => read(`{"jsonrpc":"2.0","id":1,"method":"x","${twin}":{}}`), wanted, twin);
  }
  for (const twin of ['Name', 'Type', 'uRI']) {
    t.throws(() => call(`{"ref":{"type":"ref/prompt","name":"a","${twin}":"b"}}`), wanted, twin);
  }
  t.throws(() => call('{"ref":{"name":"a","name":"b"}}'), wanted, 'twice in a reference');
});

t.test("other keys are nobody else's business", async (t) => {
  t.equal(call('{"name":"a","names":1,"Title":2,"ńame":3,"arguments":{"Name":1,"name":2}}').name, 'a');
  t.equal(read('{"jsonrpc":"2.0","id":1,"method":"x","Extra":{}}').method, 'x');
});
