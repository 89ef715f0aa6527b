import t from 'tap';
import { clientCapabilities } from '../../src/mcp/capabilities.ts';
import { parseResponse, type ResponseEnvelope } from '../../src/mcp/response.ts';
import type { Connection, UriSpace } from '../../src/snapshot/snapshot.ts';
import { question } from '../../src/translate/ask.ts';
import { isLoudEnough, LOG_LEVELS } from '../../src/translate/log-level.ts';
import { unrelatedMessage } from '../../src/translate/unrelated.ts';
import { handles, identity, prefixed } from './exchange.ts';

const connection = { name: 'up', catalog: { era: 'legacy', capabilities: {} } } as unknown as Connection;
const asked = (capabilities: unknown, uris: UriSpace = identity) => ({
  sessionId: 's-1',
  capabilities: clientCapabilities(JSON.stringify(capabilities)),
  names: { handles, connection, uris, owner: 'me' },
});
const envelope = (message: unknown): ResponseEnvelope =>
  parseResponse(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message))) as ResponseEnvelope;
const ask = (message: unknown, capabilities: unknown, uris?: UriSpace) =>
  question(envelope(message), asked(capabilities, uris));
const ALL = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} };
const request = (method: string, params: unknown = {}, id: unknown = 7) => ({ jsonrpc: '2.0', id, method, params });
/** What the client gets. */
const forClient = (put: ReturnType<typeof question>) =>
  JSON.parse('forClient' in put ? put.forClient.toString() : '{}') as {
    id?: string;
    params?: { _meta?: { progressToken?: string } };
  };

t.test('an id comes back as its upstream wrote it', async (t) => {
  for (const id of ['7', '"7"', '9007199254740993', '"a\\u0062"', 'null', '1.0']) {
    const put = ask(`{"jsonrpc":"2.0","id":${id},"method":"roots/list"}`, ALL);
    const handle = forClient(put).id ?? '';
    t.same(handles.unwrap('request', 's-1', handle), ['up', id]);
    t.equal(handles.unwrap('request', 's-2', handle), undefined, 'of no other session');
    t.equal(handles.unwrap('event', 's-1', handle), undefined, 'of no other kind');
  }
  t.equal(forClient(ask(request('roots/list'), ALL)).id, forClient(ask(request('roots/list'), ALL)).id, 'stable');
  t.not(forClient(ask(request('roots/list', {}, 1), ALL)).id, forClient(ask(request('roots/list', {}, '1'), ALL)).id);
});

t.test('a client is asked what it has declared, all else is answered here', async (t) => {
  const refused = (method: string, capabilities: unknown, params: unknown = {}): boolean => {
    const put = ask(request(method, params), capabilities);
    if ('forClient' in put) return false;
    t.match(JSON.parse(put.forUpstream), { jsonrpc: '2.0', id: 7, error: { code: -32601 } });
    return true;
  };
  t.equal(refused('roots/list', {}), true);
  t.equal(refused('roots/list', { roots: {} }), false);
  t.equal(refused('elicitation/create', { elicitation: {} }, { mode: 'url' }), true);
  t.equal(refused('elicitation/create', { elicitation: {} }), false);
  t.equal(refused('elicitation/create', { elicitation: {} }, { mode: 5 }), false);
  t.equal(refused('sampling/createMessage', { sampling: {} }), false);
  t.equal(refused('sampling/createMessage', { sampling: {} }, { tools: [] }), true, 'with tools only by their leave');
  t.equal(refused('sampling/createMessage', { sampling: { tools: {} } }, { tools: [] }), false);
  for (const odd of ['tools/call', 'initialize', 'tasks/get', '', 'sampling/createMessage '])
    t.equal(refused(odd, ALL), true, odd);
  const ping = ask(request('ping', {}, 'p'), {});
  t.same(JSON.parse('forUpstream' in ping ? ping.forUpstream : ''), { jsonrpc: '2.0', id: 'p', result: {} });
});

t.test('names within a question are those of the client', async (t) => {
  const content = { type: 'resource', resource: { uri: 'memo:x' } };
  const params = { messages: [{ role: 'user', content }], _meta: { progressToken: 5, other: 1 } };
  const put = forClient(ask(request('sampling/createMessage', params), ALL, prefixed));
  t.match(put, { params: { messages: [{ content: { resource: { uri: 'up+memo:x' } } }], _meta: { other: 1 } } });
  t.same(handles.unwrap('progress', 's-1', put.params?._meta?.progressToken ?? ''), ['up', '5']);
});

t.test('a stream that answers nothing carries notifications and questions', async (t) => {
  const hear = (message: unknown, isResumed = false) =>
    unrelatedMessage(
      Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)),
      asked({ roots: {} }, prefixed),
      isResumed,
    );
  t.match(hear({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }), { kind: 'pass' });
  const updated = hear({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'memo:x' } });
  t.match(updated.kind === 'pass' && updated.bytes.toString(), /up\+memo:x/);
  t.match(hear(request('roots/list')), { kind: 'pass', method: 'roots/list' });
  t.match(hear(request('sampling/createMessage')), { kind: 'reply', message: /-32601/ });
  t.match(hear(request('ping')), { kind: 'reply', message: /"result":\{\}/ });
  t.match(hear({ jsonrpc: '2.0', id: 1, result: {} }), { kind: 'drop' }, 'an answer to nothing');
  t.match(hear({ jsonrpc: '2.0', id: 1, result: {} }, true), { kind: 'pass' }, 'unless it goes on from one');
  for (const odd of [
    '',
    '<html>',
    '[]',
    '{"a":1}',
    '{"method":"x","method":"y"}',
    '{"method":"notifications/cancelled","params":5}',
  ]) {
    t.doesNotThrow(() => hear(odd), odd);
  }
  t.match(hear('{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","uri":"b"}}'), {
    kind: 'drop',
  });
});

t.test('log levels in their order', async (t) => {
  const loud = (level: string, wanted: string | undefined): boolean => {
    const bytes = Buffer.from(JSON.stringify({ level }));
    return isLoudEnough(bytes, { start: 0, end: bytes.length }, wanted);
  };
  for (const [i, wanted] of LOG_LEVELS.entries()) {
    for (const [j, level] of LOG_LEVELS.entries()) t.equal(loud(level, wanted), j >= i, `${level} for ${wanted}`);
    t.equal(loud('nonsense', wanted), false);
  }
  t.equal(loud('emergency', undefined), false);
  t.equal(loud('nonsense', 'gibberish'), false, 'a wish for a level that is none is no wish');
  t.equal(loud('debug', 'gibberish'), false);
});
