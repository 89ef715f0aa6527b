import t from 'tap';
import { Acquaintance } from '../../src/catalog/introduction.ts';
import { createEgress } from '../../src/egress/egress.ts';
import { probeEra } from '../../src/egress/era-probe.ts';
import { UpstreamError } from '../../src/egress/upstream-client.ts';
import { eventually } from '../support/eventually.ts';
import { type Habit, reply, rpcError, startUpstream } from './upstream.ts';

const egress = createEgress('direct');
t.teardown(() => egress.close());
const patience = () => AbortSignal.timeout(20_000);

/** What a server answers to `server/discover`, and what that says of it. */
const TABLE: readonly (readonly [what: string, status: number, body: string, verdict: string])[] = [
  ['a discovery', 200, result({ supportedVersions: ['2026-07-28'], capabilities: { tools: {} } }), 'modern'],
  ['a discovery of both eras', 200, result({ supportedVersions: ['2025-11-25', '2026-07-28'] }), 'modern'],
  ['a discovery that offers legacy versions only', 200, result({ supportedVersions: ['2025-11-25'] }), 'legacy'],
  ['a discovery of versions to come', 200, result({ supportedVersions: ['2031-01-01'] }), 'modern, refuses'],
  ['a result that is no discovery', 200, result({}), 'legacy'],
  ['no JSON', 200, '<html>', 'legacy'],
  ['a JSON-RPC error with 200', 200, rpcError('x', -32601), 'legacy'],
  ['not initialized', 400, rpcError(null, -32000), 'legacy'],
  ['400 without a word', 400, '', 'legacy'],
  ['404', 404, 'no', 'legacy'],
  ['404 with a JSON-RPC error', 404, rpcError('x', -32601), 'legacy'],
  ['405', 405, '', 'legacy'],
  ['406', 406, rpcError(null, -32000), 'legacy'],
  ['a header mismatch', 400, rpcError('x', -32020), 'modern, refuses'],
  ['a missing client capability', 400, rpcError('x', -32021), 'modern, refuses'],
  ['the same with 200', 200, rpcError('x', -32021), 'modern, refuses'],
  ['another version, legacy', 400, rpcError('x', -32022, { supported: ['2025-06-18'] }), 'legacy'],
  ['another version, unknown', 400, rpcError('x', -32022, { supported: ['2031-01-01'] }), 'modern, refuses'],
  ['another version, unnamed', 400, rpcError('x', -32022), 'modern, refuses'],
  ['401', 401, '', 'none'],
  ['403', 403, '', 'none'],
  ['429', 429, '', 'none'],
  ['a redirect', 307, '', 'none'],
  ['500', 500, '', 'none'],
  ['503 with a JSON-RPC error', 503, rpcError(null, -32000), 'none'],
];

function result(members: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id: 'x', result: { resultType: 'complete', ...members } });
}

t.test('what each answer to server/discover says', async (t) => {
  let answer: readonly [number, string] = [0, ''];
  const upstream = await startUpstream(t, { habit: (_, response) => reply(response, ...answer) });
  for (const [what, status, body, expected] of TABLE) {
    answer = [status, body];
    const verdict = await probeEra(egress, upstream.connection, patience());
    const seen = `${verdict.era ?? 'none'}${'refusal' in verdict ? ', refuses' : ''}`;
    t.equal(seen, expected, what);
  }
  const [first] = upstream.asked;
  t.match(first?.headers, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'server/discover', 'x-key': 'k' });
  t.match(first?.params._meta, {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'sallyport' },
    'io.modelcontextprotocol/clientCapabilities': {},
  });
});

t.test('a server that cannot be reached says nothing', async (t) => {
  const upstream = await startUpstream(t);
  const away = { ...upstream.connection, url: new URL('http://127.0.0.1:1/mcp') };
  await t.rejects(probeEra(egress, away, patience()), { message: /ECONNREFUSED/ });
});

t.test('a discovery on an event stream is one too', async (t) => {
  const upstream = await startUpstream(t, {
    habit(_, response) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`: hi\n\ndata: ${result({ supportedVersions: ['2026-07-28'], ttlMs: -5 })}\n\n`);
      return true;
    },
  });
  t.match(await probeEra(egress, upstream.connection, patience()), { era: 'modern', discovery: { ttlMs: 0 } });
});

t.test('a legacy verdict is kept for ten minutes and no longer', async (t) => {
  let now = 1e12;
  const upstream = await startUpstream(t, { era: 'legacy' });
  const server = new Acquaintance(upstream.connection, egress, () => now);
  t.match(await server.meet(patience()), {
    era: 'legacy',
    eraCheckedAt: now,
    sessionId: 's1',
    protocolVersion: '2025-06-18',
    serverName: 'old',
    instructions: 'ask nicely',
  });
  t.same(upstream.methods(), ['server/discover', 'initialize', 'notifications/initialized']);
  now += 9 * 60_000;
  await server.meet(patience());
  t.equal(upstream.asked.length, 3, 'the session is open and the verdict stands: nothing is asked');
  now += 61_000;
  t.match(await server.meet(patience()), { sessionId: 's1', eraCheckedAt: now });
  t.equal(upstream.methods().at(-1), 'server/discover');
  server.doubt();
  await server.meet(patience());
  t.equal(upstream.methods().at(-1), 'server/discover', 'and after a failure it is asked again');
});

t.test('a server that becomes another one is noticed', async (t) => {
  const upstream = await startUpstream(t, { era: 'legacy' });
  const server = new Acquaintance(upstream.connection, egress);
  t.equal((await server.meet(patience())).era, 'legacy');
  upstream.era = 'modern';
  server.forgetSession();
  t.match(await server.meet(patience()), {
    era: 'modern',
    sessionId: undefined,
    serverName: 'new',
    protocolVersion: '2026-07-28',
  });
  upstream.era = 'legacy';
  t.equal((await server.meet(patience())).era, 'legacy', 'modern is proved with every look');

  // Within the ten minutes, without a word of failure from outside.
  const stateless = await startUpstream(t, { era: 'legacy', hasSessions: false });
  const other = new Acquaintance(stateless.connection, egress);
  t.equal((await other.meet(patience())).era, 'legacy');
  stateless.era = 'modern';
  t.equal((await other.meet(patience())).era, 'modern', 'the session that cannot be opened is the reason to look');
});

t.test('a server of both eras is met in the newer, and asked about the older once somebody needs it', async (t) => {
  let now = 1e12;
  const upstream = await startUpstream(t);
  upstream.habit = ({ method, id, verb }, response) => {
    if (verb === 'DELETE') return reply(response, 204, '');
    const result = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'both', version: '1' } };
    if (method === 'initialize')
      return reply(response, 200, JSON.stringify({ jsonrpc: '2.0', id, result }), { 'mcp-session-id': 'both' });
    return method === 'notifications/initialized' && reply(response, 202, '');
  };
  const server = new Acquaintance(upstream.connection, egress, () => now);
  const both = { era: 'modern', sessionId: undefined, legacy: { protocolVersion: '2025-06-18', hasSessions: true } };
  t.match(await server.meet(patience()), { era: 'modern', legacy: undefined });
  t.notOk(upstream.methods().includes('initialize'), 'as long as no legacy client has come');
  t.equal(server.wantLegacy(), true);
  t.match(await server.meet(patience()), both);
  t.equal(server.wantLegacy(), false, 'that is known');
  await eventually(() => upstream.methods().includes('DELETE'));
  t.match(await server.meet(patience()), both);
  const asked = () => upstream.methods().filter((method) => method === 'initialize').length;
  t.equal(asked(), 1, 'not with every look');
  now += 11 * 60_000;
  upstream.habit = () => false;
  t.match(await server.meet(patience()), { era: 'modern', legacy: undefined });
  t.equal(asked(), 2);
});

t.test('no evidence leaves the era as it was', async (t) => {
  const failing: Habit = ({ method }, response) => method === 'server/discover' && reply(response, 503, '');
  const legacy = await startUpstream(t, { era: 'legacy', habit: failing });
  const old = new Acquaintance(legacy.connection, egress);
  t.match(await old.meet(patience()), { era: 'legacy', eraCheckedAt: undefined, sessionId: 's1' });
  legacy.habit = (_, response) => reply(response, 401, '');
  old.close();
  await t.rejects(old.meet(patience()), {
    status: 401,
    message: 'answered initialize with HTTP 401 and no JSON-RPC response',
  });

  const modern = await startUpstream(t);
  const fresh = new Acquaintance(modern.connection, egress);
  await fresh.meet(patience());
  modern.habit = (_, response) => reply(response, 503, '');
  await t.rejects(
    fresh.meet(patience()),
    new UpstreamError('answered server/discover with HTTP 503 and no JSON-RPC response', 503),
  );
  t.equal(fresh.era, 'modern');
});

t.test('a server that is silent about what it does not know is legacy', async (t) => {
  const upstream = await startUpstream(t, {
    era: 'legacy',
    habit: ({ method }) => method === 'server/discover',
  });
  const server = new Acquaintance(upstream.connection, egress);
  t.match(await server.meet(patience()), { era: 'legacy', eraCheckedAt: undefined });
});
