import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { post } from '../support/mcp.ts';
import { startModern } from '../support/modern-upstream.ts';
import { modernRequest, openEvents } from '../support/raw-client.ts';

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const ALL = 'key-that-may-do-anything';
const NARROW = 'key-that-may-do-little';

t.test('subscriptions/listen of modern clients', async (t) => {
  const modern = await startModern(t);
  const legacy = await startLegacy(t);
  const mute = await startLegacy(t, { capabilities: { tools: {}, resources: {} } });
  const gateway = await startGateway(t, {
    config: `
connections:
  modern: { url: "${modern.url}", refresh: 1h }
  legacy: { url: "${legacy.url}", refresh: 1h }
  mute: { url: "${mute.url}", refresh: 1h }
namespaces:
  default: { connections: ['*'], prefix: always }
personas:
  all: { roles: [all], tools: { allow: ['*'] }, connections: { allow: ['*'] } }
  narrow: { roles: [narrow], tools: { allow: ['*'], deny: ['modern__memo?*'] }, connections: { allow: [modern] } }
identity:
  apiKeys:
    - { name: all, key: ${ALL}, roles: [all] }
    - { name: narrow, key: ${NARROW}, roles: [narrow] }
`,
  });
  await Promise.all(['modern', 'legacy', 'mute'].map((name) => gateway.ready(name)));
  t.teardown(() => t.passing() || t.comment(gateway.output()));
  const MODERN = 'modern+file:///a.txt';
  const LEGACY = 'legacy+file:///a.txt';
  const catalogListeners = modern.listeners.size;

  /** `id`: JSON text, so that its bytes are the test's. */
  async function listen(notifications: object, { id = '1', key = ALL } = {}) {
    const { body, headers } = modernRequest('subscriptions/listen', { notifications }, { id: 'ID' });
    const stream = await openEvents(gateway.mcpUrl, key, body.replace('"ID"', id), headers);
    t.teardown(() => stream.close());
    return stream;
  }

  t.test(
    'the acknowledgement comes first, tagged with the id as it was written, and tells what is honoured',
    async (t) => {
      const stream = await listen(
        {
          toolsListChanged: true,
          promptsListChanged: false,
          resourceSubscriptions: [MODERN, LEGACY, 'mute+file:///a.txt', 'nobody+file:///a.txt', MODERN],
        },
        { id: '9007199254740993' },
      );
      t.equal(stream.status, 200);
      t.match(stream.headers.get('content-type'), 'text/event-stream');
      const ack = await stream.next();
      t.equal(ack?.message.method, 'notifications/subscriptions/acknowledged');
      t.match(ack?.data, `"${SUBSCRIPTION}":9007199254740993`);
      t.same(ack?.message.params?.notifications, { toolsListChanged: true, resourceSubscriptions: [MODERN, LEGACY] });
      stream.close();
      const narrow = await listen(
        { resourcesListChanged: true, resourceSubscriptions: [MODERN, LEGACY, 'modern+memo:insights'] },
        { id: '"1"', key: NARROW },
      );
      const told = await narrow.next();
      t.match(told?.data, `"${SUBSCRIPTION}":"1"`);
      t.same(told?.message.params?.notifications, { resourcesListChanged: true, resourceSubscriptions: [MODERN] });
      narrow.close();
    },
  );

  t.test('a filter that is none is refused', async (t) => {
    const ask = (params: Record<string, unknown>) => {
      const { body, headers } = modernRequest('subscriptions/listen', params);
      return post(gateway.mcpUrl, ALL, body, headers);
    };
    const many = Array.from({ length: 1001 }, (_, i) => `modern+file:///${i}`);
    for (const notifications of [
      undefined,
      [],
      { toolsListChanged: 1 },
      { resourceSubscriptions: 'x' },
      { resourceSubscriptions: many },
    ]) {
      const { json } = await ask({ notifications });
      t.equal(json.error?.code, -32602, json.error?.message ?? '');
      t.equal(json.id, 1);
    }
  });

  t.test('changes of lists reach those who asked for that list', async (t) => {
    const tools = await listen({ toolsListChanged: true }, { id: '"tools"' });
    const prompts = await listen({ promptsListChanged: true }, { id: '2' });
    await tools.next();
    await prompts.next();
    modern.content.tools.push({ name: 'more', inputSchema: { type: 'object' } });
    for (const listener of modern.listeners) {
      const _meta = { [SUBSCRIPTION]: listener.message.id };
      listener.event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta } });
    }
    t.same((await tools.next())?.message, {
      jsonrpc: '2.0',
      method: 'notifications/tools/list_changed',
      params: { _meta: { [SUBSCRIPTION]: 'tools' } },
    });
    await t.rejects(prompts.next(500));
    tools.close();
    prompts.close();
  });

  t.test('updates of resources, from upstreams of both eras, to each who asked', async (t) => {
    const sessions = new Set(legacy.sessions.keys());
    const a = await listen({ resourceSubscriptions: [MODERN, LEGACY] }, { id: '7' });
    const b = await listen({ resourceSubscriptions: [MODERN] }, { id: '7', key: NARROW });
    await a.next();
    await b.next();
    const listeners = await eventually(() => {
      const found = [...modern.listeners].filter(({ body }) => body.includes('"resourceSubscriptions"'));
      return found.length === 2 ? found : undefined;
    });
    const own = await eventually(() =>
      [...legacy.sessions.values()].find(
        ({ id, subscriptions }) => !sessions.has(id) && subscriptions.has('file:///a.txt'),
      ),
    );
    const get = await eventually(() => [...legacy.streams].find(({ session }) => session === own.id));
    const updated = { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///a.txt' } };
    get.event({ ...updated, params: { uri: 'file:///never-asked-for' } });
    get.event(updated);
    t.same((await a.next())?.message.params, { uri: LEGACY, _meta: { [SUBSCRIPTION]: 7 } });
    for (const listener of listeners) listener.event(updated);
    t.same((await a.next())?.message.params, { uri: MODERN, _meta: { [SUBSCRIPTION]: 7 } });
    t.same((await b.next())?.message.params, { uri: MODERN, _meta: { [SUBSCRIPTION]: 7 } });
    get.event({ jsonrpc: '2.0', id: 'p', method: 'ping' });
    t.same((await legacy.answerTo('p')).result, {});
    get.event({ jsonrpc: '2.0', id: 's', method: 'roots/list' });
    t.equal((await legacy.answerTo('s')).error?.code, -32601);

    // The upstream loses the streams: they are opened again, and what may have been missed is told.
    get.end();
    t.same((await a.next())?.message.params?.uri, LEGACY);
    listeners[0]?.end();
    listeners[1]?.end();
    t.same((await a.next())?.message.params?.uri, MODERN);
    t.same((await b.next())?.message.params?.uri, MODERN);
    legacy.sessions.delete(own.id);
    for (const stream of legacy.streams) stream.end();
    t.same((await a.next())?.message.params?.uri, LEGACY, 'a lost session is begun anew');

    // A client that hangs up leaves nothing behind.
    a.close();
    b.close();
    await eventually(() => [...modern.listeners].every(({ body }) => !body.includes('"resourceSubscriptions"')));
    await eventually(() => [...legacy.sessions.values()].every(({ subscriptions }) => subscriptions.size === 0));
    t.equal(modern.listeners.size, catalogListeners);
  });

  t.test('a stop is told, and is a result', async (t) => {
    const stream = await listen({ toolsListChanged: true }, { id: '"last"' });
    await stream.next();
    const code = gateway.stop();
    const [cancelled, result, ...rest] = await stream.rest();
    t.match(cancelled?.message, {
      method: 'notifications/cancelled',
      params: { requestId: 'last', _meta: { [SUBSCRIPTION]: 'last' } },
    });
    t.same(result?.message, {
      jsonrpc: '2.0',
      id: 'last',
      result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'last' } },
    });
    t.same(rest, []);
    t.equal(await code, 0);
  });
});
