import fc from 'fast-check';
import t from 'tap';
import { parseEnvelope } from '../../src/mcp/envelope.ts';
import { stringAt } from '../../src/mcp/json.ts';
import { parseResponse, type ResponseEnvelope } from '../../src/mcp/response.ts';
import type { Era } from '../../src/mcp/revision.ts';
import type { Translated } from '../../src/translate/translation.ts';
import { handles, prefixed, type Setting, translationOf } from './exchange.ts';

const ERAS: readonly Era[] = ['legacy', 'modern'];

/** One message through a fresh translation. */
const say = (setting: Setting, message: unknown): Translated =>
  translationOf(setting).message(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)));

/** The text that goes on; undefined when none does. */
const heard = (setting: Setting, message: unknown): string | undefined => {
  const translated = say(setting, message);
  return translated.kind === 'pass' || translated.kind === 'final' ? translated.bytes.toString() : undefined;
};
const result = (value: unknown, id: unknown = 1) => ({ jsonrpc: '2.0', id, result: value });
const error = (code: number, data?: unknown, id: unknown = 1) => ({
  jsonrpc: '2.0',
  id,
  error: { code, message: 'm', data },
});

t.test('an answer of the same era keeps every byte', async (t) => {
  const text = '{ "jsonrpc":"2.0" ,"result":{"n":9007199254740993,"e":1e400,"d":{"a":1,"a":2}},"id":1}';
  for (const era of ERAS) t.equal(heard({ client: era, upstream: era }, text), text);
});

t.test('the client gets its id back as it wrote it, type and all', async (t) => {
  const answer = (id: string): string => `{"jsonrpc":"2.0","id":${id},"result":{}}`;
  for (const id of ['1', '"1"', '9007199254740993', '-0', '"\\u0031"', '""', '"é"']) {
    const shared: Setting = { client: 'legacy', upstream: 'legacy', id, mintedId: '"sp-x-1"' };
    t.equal(heard(shared, answer('"sp-x-1"')), answer(id), `${id} from a minted one`);
    t.equal(heard(shared, answer('"sp-\\u0078-1"')), answer(id), `${id} from one that is written in another way`);
    t.equal(heard(shared, answer(id)), undefined, `${id} itself is no answer to what the upstream was asked`);
    t.equal(heard({ client: 'legacy', upstream: 'legacy', id }, answer(id)), answer(id));
  }
  const one: Setting = { client: 'legacy', upstream: 'legacy', id: '1' };
  t.equal(heard(one, answer('"1"')), undefined, '"1" is not 1');
  t.equal(heard({ ...one, id: '"1"' }, answer('1')), undefined, '1 is not "1"');
  t.equal(heard(one, answer('1.0')), answer('1'), '1.0 is 1, and the client hears 1');
  t.equal(heard(one, answer('2')), undefined);
  t.equal(heard(one, answer('true')), undefined);
  t.equal(heard({ ...one, id: '0' }, answer('null')), undefined);
  t.equal(heard({ ...one, id: '0' }, answer('false')), undefined);
  t.equal(heard({ ...one, id: '0' }, answer('[]')), undefined);
  t.equal(heard({ ...one, id: '0' }, answer('""')), undefined);
  t.equal(
    heard({ ...one, id: '9007199254740993' }, answer('9007199254740992')),
    answer('9007199254740993'),
    'a server that cannot hold the number answers all the same',
  );
  t.equal(
    heard(one, error(-32600, undefined, null)),
    JSON.stringify(error(-32600)),
    'an error to nobody is for this one',
  );
  t.equal(
    heard(one, '{"jsonrpc":"2.0","error":{"code":1,"message":""}}'),
    '{"id":1,"jsonrpc":"2.0","error":{"code":1,"message":""}}',
  );
  t.equal(heard(one, '{"jsonrpc":"2.0","result":{}}'), undefined, 'a result to nobody is for nobody');
});

t.test('nothing comes after the response', async (t) => {
  const translation = translationOf({ client: 'legacy', upstream: 'legacy' });
  const send = (message: unknown) => translation.message(Buffer.from(JSON.stringify(message))).kind;
  t.equal(send(result({}, 2)), 'drop');
  t.equal(send(result({})), 'final');
  t.equal(send(result({ second: true })), 'drop');
  t.equal(send({ jsonrpc: '2.0', method: 'notifications/progress', params: {} }), 'drop');
  t.equal(send({ jsonrpc: '2.0', id: 5, method: 'ping' }), 'drop');
});

t.test('a result in the words of the client', async (t) => {
  const toModern: Setting = { client: 'modern', upstream: 'legacy' };
  t.same(JSON.parse(heard(toModern, result({ content: [] })) ?? ''), result({ resultType: 'complete', content: [] }));
  t.equal(
    heard(toModern, '{"jsonrpc":"2.0","id":1,"result":{ }}'),
    '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete" }}',
  );
  t.same(JSON.parse(heard({ ...toModern, method: 'resources/read' }, result({ contents: [] })) ?? ''), {
    ...result({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', contents: [] }),
  });
  const own = result({ resultType: 'complete', ttlMs: 5, cacheScope: 'public', contents: [] });
  const read = { ...toModern, method: 'resources/read' };
  for (const upstream of ERAS) {
    const kept = JSON.stringify(own).replace('public', 'private');
    t.equal(heard({ ...read, upstream }, own), kept, 'what is there stays, but is for this client alone');
  }

  const toLegacy: Setting = { client: 'legacy', upstream: 'modern' };
  t.equal(
    heard(
      toLegacy,
      '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","n":1e400,"ttlMs":1,"cacheScope":"public"}}',
    ),
    '{"jsonrpc":"2.0","id":1,"result":{"n":1e400}}',
  );
  t.equal(heard(toLegacy, result({ resultType: 'complete' })), JSON.stringify(result({})), 'an empty result is empty');
  t.equal(say(toLegacy, result({ resultType: 'input_required', inputRequests: {} })).kind, 'needs input');
  t.equal(say({ client: 'modern', upstream: 'modern' }, result({ resultType: 'input_required' })).kind, 'final');
});

t.test('an error in the words of the client', async (t) => {
  const code = (setting: Setting, message: unknown): unknown =>
    (JSON.parse(heard(setting, message) ?? '{"error":{}}') as { error: { code?: number } }).error.code;
  const toModern: Setting = { client: 'modern', upstream: 'legacy' };
  const toLegacy: Setting = { client: 'legacy', upstream: 'modern' };
  t.equal(code({ ...toModern, method: 'resources/read' }, error(-32002, { uri: 'x' })), -32602);
  t.equal(code({ ...toLegacy, method: 'resources/read' }, error(-32602, { uri: 'x' })), -32002);
  t.equal(code({ ...toLegacy, method: 'tools/call' }, error(-32602)), -32602, 'bad parameters of a call stay that');
  t.equal(code({ ...toModern, method: 'resources/read' }, error(-32603)), -32603);
  for (const method of ['tools/call', 'prompts/get', 'completion/complete']) {
    t.equal(code({ ...toModern, method }, error(-32002)), -32602, `a modern client never sees -32002: ${method}`);
  }
  t.equal(say(toModern, error(-32042, { elicitations: [] })).kind, 'needs input', 'nor -32042');
  t.equal(code({ client: 'legacy', upstream: 'legacy' }, error(-32042)), -32042);
  for (const hop of [-32020, -32022]) {
    for (const client of ERAS) {
      t.equal(code({ client, upstream: 'modern' }, error(hop)), -32603, `${hop} is about the gateway's own request`);
    }
  }
  t.equal(say(toLegacy, error(-32021)).kind, 'needs input');
  const asking = (method: string, params = {}) =>
    result({ resultType: 'input_required', inputRequests: { k: { method, params } }, requestState: 's' });
  const both: Setting = { client: 'modern', upstream: 'modern' };
  t.equal(say(both, asking('elicitation/create')).kind, 'needs input', 'of a client that cannot be asked');
  t.equal(code({ client: 'modern', upstream: 'modern' }, error(-32021)), -32021, 'which its client can mend');
  const renamed = heard({ ...toModern, method: 'resources/read', uris: prefixed }, error(-32002, { uri: 'file:///a' }));
  t.match(renamed, /"uri":"up\+file:\/\/\/a"/);
});

t.test('progress comes back under the token that the client gave', async (t) => {
  const progress = (token: string): string =>
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}`;
  for (const token of ['1', '"1"', '9007199254740993', '"a\\u0062"']) {
    const shared: Setting = { client: 'legacy', upstream: 'modern', token, mintedToken: '"sp-1"' };
    t.equal(heard(shared, progress('"sp-1"')), progress(token));
    t.equal(heard(shared, progress('"sp-2"')), undefined, "somebody else's");
    t.equal(heard(shared, progress(token)), undefined, 'not a token that this upstream was given');
  }
  t.equal(heard({ client: 'legacy', upstream: 'legacy', token: '1' }, progress('1')), progress('1'));
});

t.test("a shared hop never lets another call's progress through", async (t) => {
  // The client gave no token, so no progress can be its own.
  const shared: Setting = { client: 'legacy', upstream: 'legacy', mintedId: '"sp-1"' };
  const other = { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'sp-9', progress: 1 } };
  t.equal(heard(shared, other), undefined);
});

t.test('log messages reach a modern client at the level it asked for', async (t) => {
  const log = (level?: string) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level, data: 'x' } });
  const modern: Setting = { client: 'modern', upstream: 'legacy' };
  t.equal(heard(modern, log('emergency')), undefined, 'none without a wish');
  t.ok(heard({ ...modern, logLevel: 'warning' }, log('warning')));
  t.ok(heard({ ...modern, logLevel: 'warning' }, log('error')));
  t.notOk(heard({ ...modern, logLevel: 'warning' }, log('notice')));
  t.notOk(heard({ ...modern, logLevel: 'debug' }, log('chatter')), 'a level that is none');
  t.notOk(heard({ ...modern, logLevel: 'debug' }, log()));
  t.notOk(heard({ ...modern, logLevel: 'debug' }, { jsonrpc: '2.0', method: 'notifications/message' }));
  t.ok(heard({ client: 'legacy', upstream: 'legacy' }, log('debug')), 'a legacy session has said so upstream');
});

t.test('changes of lists are not told on the stream of a request to modern clients', async (t) => {
  const changed = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };
  t.equal(heard({ client: 'modern', upstream: 'legacy' }, changed), undefined);
  t.ok(heard({ client: 'legacy', upstream: 'legacy' }, changed));
});

t.test('a request of the upstream is its legacy right alone', async (t) => {
  const ask = { jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: {} };
  t.match(say({ client: 'legacy', upstream: 'legacy' }, ask), {
    kind: 'ask',
    id: '"q"',
    method: 'sampling/createMessage',
  });
  t.match(say({ client: 'modern', upstream: 'legacy' }, ask), { kind: 'ask' });
  t.equal(say({ client: 'legacy', upstream: 'modern' }, ask).kind, 'drop');
  t.equal(say({ client: 'modern', upstream: 'modern' }, ask).kind, 'drop');
});

t.test('URIs and task ids are those of the client', async (t) => {
  const links = result({ content: [{ type: 'resource_link', uri: 'memo:x' }] });
  t.match(heard({ client: 'legacy', upstream: 'legacy', uris: prefixed }, links), /"uri":"up\+memo:x"/);
  const updated = { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'memo:x' } };
  t.match(heard({ client: 'legacy', upstream: 'legacy', uris: prefixed }, updated), /"uri":"up\+memo:x"/);
  const tasks: Setting = { client: 'legacy', upstream: 'legacy', offers: { tasks: {} } };
  const handle = (JSON.parse(heard(tasks, result({ task: { taskId: 't1' } })) ?? '') as ReturnType<typeof result>)
    .result as {
    task: { taskId: string };
  };
  t.same(handles.unwrap('task', 'api_key:me', handle.task.taskId), ['up', 't1']);
  t.equal(handles.unwrap('task', 'api_key:you', handle.task.taskId), undefined, 'of nobody else');
});

t.test('a request that the upstream takes back is named as the client knows it', async (t) => {
  const back = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7, reason: 'enough' } };
  const text = heard({ client: 'legacy', upstream: 'legacy', session: 's-1' }, back) ?? '';
  const { params } = JSON.parse(text) as { params: { requestId: string; reason: string } };
  t.same(handles.unwrap('request', 's-1', params.requestId), ['up', '7']);
  t.equal(params.reason, 'enough');
});

/** Settings that make translation do something. */
const setting: fc.Arbitrary<Setting> = fc.record({
  client: fc.constantFrom(...ERAS),
  upstream: fc.constantFrom(...ERAS),
  method: fc.constantFrom('tools/call', 'resources/read', 'prompts/get'),
  id: fc.constantFrom('1', '"a"', '9007199254740993'),
  mintedId: fc.constantFrom(undefined, '"sp-1"') as fc.Arbitrary<string>,
  token: fc.constantFrom(undefined, '1', '"t"') as fc.Arbitrary<string>,
  mintedToken: fc.constantFrom(undefined, '"sp-t"') as fc.Arbitrary<string>,
  logLevel: fc.constantFrom(undefined, 'info') as fc.Arbitrary<string>,
  uris: fc.constant(prefixed),
  offers: fc.constant({ tasks: {} }),
  session: fc.constant('s'),
});

t.test('whatever an upstream sends, nothing is thrown and nothing but JSON goes on', async () => {
  const odd = fc.oneof(
    fc.json(),
    fc.constantFrom('"}"', '"}{"', '[]', '["}"]', 'null', '5', '{"resultType":5}', '{"content":5}', '"\\"}"', '{}'),
    fc.json().map((text) => `{"content":[{"uri":${text},"resource":${text}}],"taskId":${text},"_meta":${text}}`),
  );
  const idText = fc.constantFrom('1', '"a"', '"sp-1"', '9007199254740993', 'null', '{}', '1.0', '1e0');
  const message = fc.oneof(
    fc.tuple(idText, odd).map(([id, value]) => `{"jsonrpc":"2.0","id":${id},"result":${value}}`),
    fc.tuple(idText, odd).map(([id, value]) => `{"jsonrpc":"2.0","id":${id},"error":${value}}`),
    fc
      .tuple(idText, odd)
      .map(([id, value]) => `{"jsonrpc":"2.0","id":${id},"error":{"code":${value},"data":${value}}}`),
    fc
      .tuple(fc.constantFrom('progress', 'message', 'cancelled', 'resources/updated', 'x'), odd)
      .map(([name, value]) => `{"jsonrpc":"2.0","method":"notifications/${name}","params":${value}}`),
    fc
      .tuple(fc.constantFrom('progressToken', 'requestId', 'level', 'uri', 'taskId'), odd)
      .map(([name, value]) => `{"method":"notifications/progress","params":{"${name}":${value}}}`),
    odd,
    fc.string(),
  );
  const goesOn = (one: Setting, bytes: Buffer): boolean => {
    const translated = translationOf(one).message(bytes);
    if (translated.kind !== 'pass' && translated.kind !== 'final') return true;
    JSON.parse(translated.bytes.toString());
    const before = parseResponse(bytes) as ResponseEnvelope;
    const after = parseResponse(translated.bytes) as ResponseEnvelope;
    return before.kind === after.kind && before.method === after.method;
  };
  fc.assert(
    fc.property(setting, message, (one, text) => goesOn(one, Buffer.from(text))),
    { numRuns: 10_000 },
  );
  fc.assert(
    fc.property(setting, fc.uint8Array({ maxLength: 60 }), (one, bytes) => goesOn(one, Buffer.from(bytes))),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(setting, message, fc.nat(), fc.nat({ max: 255 }), (one, text, at, byte) => {
      const bytes = Buffer.from(text);
      if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return goesOn(one, bytes);
    }),
    { numRuns: 5000 },
  );
});

t.test('ids survive whatever they are', async () => {
  const id = fc.oneof(
    fc.string().map((text) => JSON.stringify(text)),
    fc.bigInt().map(String),
  );
  fc.assert(
    fc.property(id, fc.json(), (text, value) => {
      const answer = (own: string): string => `{"jsonrpc":"2.0","id":${own},"result":{"v":${value}}}`;
      const back = heard({ client: 'legacy', upstream: 'legacy', id: text, mintedId: '"m"' }, answer('"m"'));
      const again = parseEnvelope(Buffer.from(back ?? ''));
      return back === answer(text) && again.bytes.toString('utf8', again.id?.start, again.id?.end) === text;
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = JSON.stringify(text);
      return stringAt(Buffer.from(json), 0, Buffer.byteLength(json)) === text;
    }),
  );
});

t.test('what no SDK reads as a response is none', async (t) => {
  for (const client of ERAS) {
    for (const message of [
      '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}',
      '{"jsonrpc":"2.0","id":1,"error":"boom"}',
      '{"jsonrpc":"2.0","id":1,"error":{"message":"no code"}}',
      '{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}',
      '{"jsonrpc":"2.0","id":1,"result":[]}',
      '{"jsonrpc":"2.0","id":1,"result":null}',
    ]) {
      t.equal(heard({ client, upstream: 'legacy' }, message), undefined, message);
    }
  }
});

t.test('that a resource has changed is told on a call to those who may read it', async (t) => {
  const updated = (uri: unknown) => ({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
  const setting: Setting = {
    client: 'legacy',
    upstream: 'legacy',
    tools: { allow: ['up__file*'], deny: ['*secret*'] },
  };
  t.ok(heard(setting, updated('file:///a')));
  t.equal(heard(setting, updated('file:///secret')), undefined);
  t.equal(heard(setting, updated(7)), undefined);
  t.equal(heard({ ...setting, client: 'modern' }, updated('file:///a')), undefined, 'never on the stream of a request');
});
