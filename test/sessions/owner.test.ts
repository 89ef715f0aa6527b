import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { createVault } from '../../src/credentials/vault.ts';
import type { ClientHop, Principal, Session } from '../../src/exchange/exchange.ts';
import { clientCapabilities } from '../../src/mcp/capabilities.ts';
import { createHandles } from '../../src/sessions/handles.ts';
import { ownerOf } from '../../src/sessions/owner.ts';
import { SESSION_LIFETIME_MS } from '../../src/sessions/session-id.ts';
import type { Connection } from '../../src/snapshot/snapshot.ts';

const hop = (capabilities: unknown, more: Partial<ClientHop> = {}): ClientHop => ({
  era: 'modern',
  protocolVersion: '2026-07-28',
  capabilities: clientCapabilities(JSON.stringify(capabilities)),
  clientName: 'c/1',
  logLevel: undefined,
  ...more,
});
const principal = (binding: string, tenant = 'default'): Principal => ({
  tenant,
  subject: binding,
  roles: [],
  method: 'api_key',
  binding,
});
const auto = { session: 'auto' } as Connection;
const modern = (client: ClientHop, who = principal('a')) => ownerOf(auto, client, undefined, who, 1000);

t.test('modern clients share a session with nobody but themselves, alike', async (t) => {
  const mine = modern(hop({}));
  t.equal(mine.sessionId, null, 'calls on it get ids of their own');
  t.equal(mine.expiresAt, 1000 + SESSION_LIFETIME_MS);
  t.equal(modern(hop({})).key, mine.key);
  for (const [what, other] of [
    ['another principal', modern(hop({}), principal('b'))],
    ['another tenant', modern(hop({}), principal('a', 'other'))],
    ['other capabilities', modern(hop({ roots: {} }))],
    ['a log level', modern(hop({}, { logLevel: 'info' }))],
  ] as const) {
    t.not(other.key, mine.key, what);
  }
  t.equal(
    modern(hop({ roots: { listChanged: true } })).key,
    modern(hop({ roots: {} })).key,
    'what makes no difference to an upstream makes no session',
  );
  t.equal(modern(hop({ experimental: { x: 1 } })).key, mine.key);
  t.equal(modern(hop({}, { clientName: 'other/2' })).key, mine.key);
  t.match(mine.key, /^\S+$/, 'keys are joined by spaces');
});

t.test('an upstream is told just what the client said', async (t) => {
  const told = (capabilities: unknown): unknown => JSON.parse(modern(hop(capabilities)).capabilities);
  t.same(told({}), {});
  t.same(told({ elicitation: {} }), { elicitation: { form: {} } });
  t.same(told({ elicitation: { url: {} } }), { elicitation: { url: {} } });
  t.same(told({ sampling: { tools: {} }, roots: {} }), { sampling: { tools: {} }, roots: {} });
  const legacy = (text: string) => {
    const session = { id: 's', expiresAt: 5, clientName: 'l/1' } as Session;
    const client: ClientHop = { ...hop({}), era: 'legacy', capabilities: clientCapabilities(text) };
    return ownerOf(auto, client, session, principal('a'), 0);
  };
  t.match(legacy('{"roots":{"listChanged":true},"experimental":{"x":1}}'), {
    key: 's',
    sessionId: 's',
    expiresAt: 5,
    capabilities: '{"roots":{"listChanged":true},"experimental":{"x":1}}',
    clientName: 'l/1',
  });
  t.equal(
    legacy('{"tasks":{"requests":{}},"roots":{}}').capabilities,
    '{"roots":{}}',
    "tasks of the client's are not followed",
  );
});

t.test('pooled is one for all, who are told nothing of', async (t) => {
  const pooled = { session: 'pooled' } as Connection;
  const one = ownerOf(pooled, hop({ roots: {} }), undefined, principal('a'), 0);
  const two = ownerOf(pooled, hop({}), { id: 's' } as Session, principal('b'), 0);
  t.equal(one.key, two.key);
  t.match(one, { sessionId: null, capabilities: '{}', clientName: '' });
});

t.test('handles: stable, and good for one kind and one owner', async () => {
  const handles = createHandles(createVault(randomBytes(32).toString('hex')));
  const elsewhere = createHandles(createVault(randomBytes(32).toString('hex')));
  const text = fc.string({ unit: 'binary-ascii', maxLength: 20 });
  fc.assert(
    fc.property(text, text, fc.array(text, { maxLength: 4 }), (owner, stranger, parts) => {
      const handle = handles.wrap('request', owner, parts);
      return (
        /^[\w-]+$/.test(handle) &&
        handle === handles.wrap('request', owner, parts) &&
        JSON.stringify(handles.unwrap('request', owner, handle)) === JSON.stringify(parts) &&
        (owner === stranger || handles.unwrap('request', stranger, handle) === undefined) &&
        handles.unwrap('task', owner, handle) === undefined &&
        elsewhere.unwrap('request', owner, handle) === undefined
      );
    }),
    { numRuns: 500 },
  );
});

t.test('handles that nobody made', async (t) => {
  const handles = createHandles(createVault(randomBytes(32).toString('hex')));
  const good = handles.wrap('event', 's', ['up', '1']);
  for (const bad of ['', 'x', good.slice(1), `${good}A`, good.toUpperCase(), `${good}=`, 'A'.repeat(20_000), '\0']) {
    t.equal(handles.unwrap('event', 's', bad), undefined, bad.slice(0, 40));
  }
});
