import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { type EventStream, legacySession, modernRequest } from '../support/raw-client.ts';
import type { Call, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { ALL, answer, ask, done, HELD, hold, holdModern, stand } from './asking.ts';

t.test('questions, cancellations and progress find their way, and no other', async (t) => {
  const { gateway, one, two, shared, plain, fresh, anna } = await stand(t);
  const { mcpUrl } = gateway;
  const bert = await legacySession(mcpUrl, 'bert-has-a-long-key', { capabilities: ALL, name: 'bert' });

  await t.test('an upstream asks in the middle of a call', async (t) => {
    const { held, stream } = await hold(anna, one, 'one');
    const questions: [string, unknown, unknown, unknown][] = [
      [
        'elicitation/create',
        7,
        { message: 'Name?', requestedSchema: { type: 'object', properties: {} } },
        { action: 'accept', content: {} },
      ],
      [
        'sampling/createMessage',
        '7',
        { messages: [], maxTokens: 5 },
        { role: 'assistant', content: { type: 'text', text: 'x' }, model: 'm' },
      ],
      ['roots/list', 'r"é', {}, { roots: [{ uri: 'file:///home' }] }],
    ];
    for (const [method, id, params, result] of questions) {
      held.event(ask(id, method, params));
      const asked = await stream.next();
      t.match(asked?.message, { method, params });
      t.not(asked?.message.id, id, 'not under an id that another upstream may use');
      t.type(asked?.message.id, 'string');
      const taken = await anna.send(answer(asked?.message.id, result));
      t.equal(taken.status, 202, taken.text);
      t.equal(taken.text, '');
      const heard = await one.answerTo(id);
      t.same(heard.result, result, method);
      t.equal(one.answers.at(-1)?.session, held.session, 'on the session of the call');
    }
    held.event(ask('e', 'roots/list'));
    const refused = await stream.next();
    await anna.send({ jsonrpc: '2.0', id: refused?.message.id, error: { code: -1, message: 'The user said no' } });
    t.match(await one.answerTo('e'), { error: { code: -1, message: 'The user said no' } });
    held.event(ask('p', 'ping'));
    t.same((await one.answerTo('p')).result, {}, 'a ping is answered on the hop it is for');
    held.result(done);
    t.match(
      (await stream.rest()).map(({ message }) => message),
      [{ id: 1, result: done }],
    );
  });

  await t.test('what the client has not declared it is not asked', async (t) => {
    const poor = await legacySession(mcpUrl, 'anna-has-a-long-key', { capabilities: { elicitation: {} } });
    const { held, stream } = await hold(poor, one, 'one');
    t.same([...one.sessions.values()].find(({ id }) => id === held.session)?.capabilities, { elicitation: {} });
    for (const [id, method, params] of [
      ['u', 'elicitation/create', { mode: 'url', url: 'https://x.example', message: 'm', elicitationId: 'e' }],
      ['s', 'sampling/createMessage', {}],
      ['r', 'roots/list', {}],
      ['x', 'vendor/ask', {}],
    ] as const) {
      held.event(ask(`poor-${id}`, method, params));
      t.match(await one.answerTo(`poor-${id}`), { error: { code: -32601 } }, method);
    }
    held.event(ask('poor-f', 'elicitation/create', { message: 'm' }));
    t.match((await stream.next())?.message, { method: 'elicitation/create' }, 'and what it has declared, it is');
    held.result(done);
    t.equal((await stream.rest()).length, 1);
  });

  await t.test('equal ids of two upstreams and two principals stay apart', async (t) => {
    const calls = [
      { who: anna, upstream: one, ...(await hold(anna, one, 'one', 5)) },
      { who: anna, upstream: two, ...(await hold(anna, two, 'two', 6)) },
      { who: bert, upstream: one, ...(await hold(bert, one, 'one', 5)) },
      { who: bert, upstream: two, ...(await hold(bert, two, 'two', 6)) },
    ];
    const asked = [];
    for (const [i, call] of calls.entries()) {
      call.held.event(ask(99, 'roots/list', { n: i }));
      const message = (await call.stream.next())?.message;
      t.match(message?.params, { n: i });
      asked.push({ ...call, id: message?.id });
    }
    t.equal(new Set(asked.map(({ id }) => id)).size, 4);
    const answers = (): number => one.answers.length + two.answers.length;
    const before = answers();
    // Bert answers for Anna, in every way that he may have learned her ids.
    for (const { who, id } of asked) {
      const stranger = who === anna ? bert : anna;
      const refused = await stranger.send(answer(id, { roots: [{ uri: 'file:///stolen' }] }));
      t.equal(refused.status, 400, refused.text);
      t.equal(refused.json.error?.code, -32600);
    }
    for (const id of [99, '99', null])
      t.equal((await anna.send(answer(id))).status, 400, `the upstream's own id ${id}`);
    t.equal(answers(), before, 'nothing of that reached an upstream');
    for (const { who, id, upstream, held } of asked) {
      t.equal((await who.send(answer(id, { roots: [] }))).status, 202);
      await eventually(() => upstream.answers.some((call) => call.message.id === 99 && call.session === held.session));
    }
    for (const { held } of asked) held.result(done);
    for (const { stream, held } of asked) {
      t.match((await stream.rest()).at(-1)?.message, { id: held.message.id });
    }
  });

  await t.test('equal progress tokens on one shared session stay apart', async (t) => {
    const a = await hold(anna, shared, 'shared', 1, { progressToken: 1 });
    const b = await hold(bert, shared, 'shared', 1, { progressToken: 1 });
    const c = await hold(bert, shared, 'shared', '1', { progressToken: '1' });
    const silent = await hold(anna, shared, 'shared', 2);
    const all = [a, b, c, silent];
    t.equal(new Set(all.map(({ held }) => held.session)).size, 1, 'one session');
    t.equal(new Set(all.map(({ held }) => held.message.id)).size, 4, 'ids of their own');
    const tokens = [a, b, c].map(({ held }) => held.message.params?._meta?.progressToken);
    t.equal(new Set(tokens).size, 3, 'tokens of their own');
    // A server that mixes its streams up tells everybody of everything.
    for (const { held } of all) {
      for (const progressToken of tokens) {
        held.event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 1 } });
      }
      held.result(done);
    }
    const heard = async ({ stream }: { stream: EventStream }) =>
      (await stream.rest()).map(({ message }) => message.params?.progressToken ?? message.id);
    t.same(await heard(a), [1, 1]);
    t.same(await heard(b), [1, 1]);
    t.strictSame(await heard(c), ['1', '1'], 'of the type that they had');
    t.same(await heard(silent), [2]);
  });

  await t.test('a legacy client takes a call back: one upstream is told, in its own words', async (t) => {
    const mine = await hold(anna, one, 'one', 'same');
    const other = await hold(anna, two, 'two', 'other');
    const theirs = await hold(bert, one, 'one', 'same');
    const cancelled = (): Call[] => [one, two, shared].flatMap((upstream) => upstream.of('notifications/cancelled'));
    for (const requestId of ['nobody', 1, 'other ', null]) {
      const ignored = await anna.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } });
      t.equal(ignored.status, 202);
    }
    const cancel = {
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params: { requestId: 'same', reason: 'enough "é"' },
    };
    t.equal((await anna.send(cancel)).status, 202);
    await eventually(() => cancelled().length > 0);
    t.equal(cancelled().length, 1);
    const [told] = cancelled() as [Call];
    t.equal(told.session, mine.held.session);
    t.same(told.message.params, { requestId: 'same', reason: 'enough "é"' });
    mine.held.end();
    await mine.stream.rest();
    t.equal((await anna.send(cancel)).status, 202, 'again is ignored');
    other.held.result(done);
    theirs.held.result(done);
    t.match((await theirs.stream.rest()).at(-1)?.message, { id: 'same', result: done });
    t.match((await other.stream.rest()).at(-1)?.message, { id: 'other', result: done });
    t.equal(cancelled().length, 1);

    const pooled = await hold(anna, shared, 'shared', 'pooled');
    await anna.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'pooled' } });
    await eventually(() => cancelled().length === 2);
    t.equal(cancelled()[1]?.message.params?.requestId, pooled.held.message.id, 'the id that this upstream knows');
    pooled.held.end();
  });

  await t.test('hundreds of calls with one id, at once', async (t) => {
    const crowd = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        legacySession(mcpUrl, i % 2 === 0 ? 'anna-has-a-long-key' : 'bert-has-a-long-key'),
      ),
    );
    const answers = await Promise.all(
      crowd.flatMap((client, i) =>
        ['one', 'shared', 'fresh'].flatMap((name) =>
          [1, '1', 'x'].map(async (id) => {
            const arguments_ = { who: i, name, id };
            const { json, text } = await client.request(
              'tools/call',
              { name: `${name}__echo`, arguments: arguments_ },
              id,
            );
            const heard = (json.result?.content as { text: string }[] | undefined)?.[0]?.text ?? text;
            return (
              json.id === id &&
              JSON.stringify((JSON.parse(heard) as { arguments: unknown }).arguments) === JSON.stringify(arguments_)
            );
          }),
        ),
      ),
    );
    t.equal(answers.length, 216);
    t.ok(
      answers.every((isMine) => isMine),
      'each client hears its own answer',
    );
  });

  await t.test('a call is taken back before anything of its answer is there', async (t) => {
    const opening = anna.stream('tools/call', HELD('one'), 'early');
    const held = await one.nextCall();
    const before = one.of('notifications/cancelled').length;
    await anna.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'early' } });
    await eventually(() => one.of('notifications/cancelled').length === before + 1);
    held.error(-32800, 'cancelled');
    t.match((await (await opening).next())?.message, { id: 'early', error: { code: -32800 } });

    // Nor is a session with its upstream open yet.
    const quick = await legacySession(mcpUrl, 'anna-has-a-long-key');
    const opened: Call[] = [];
    one.handlers.initialize = (call) => void opened.push(call);
    const calls = one.of('tools/call').length;
    const waiting = quick.request('tools/call', { name: 'one__echo' }, 'quick');
    await eventually(() => opened.length === 1);
    await quick.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'quick' } });
    delete one.handlers.initialize;
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    opened[0]?.json({ jsonrpc: '2.0', id: opened[0].message.id, result }, 200);
    t.match(await waiting, { status: 200, json: { id: 'quick', error: { message: /cancelled/ } } });
    t.equal(one.of('tools/call').length, calls, 'it is not called at all');

    const { body, headers } = modernRequest('tools/call', { name: 'one__held' });
    const hangUp = new AbortController();
    const gone = fetch(mcpUrl, {
      method: 'POST',
      headers: { ...headers, authorization: 'Bearer anna-has-a-long-key', 'content-type': 'application/json' },
      body,
      signal: hangUp.signal,
    }).catch(() => undefined);
    const unanswered = await one.nextCall();
    hangUp.abort();
    await gone;
    await eventually(() => one.of('notifications/cancelled').length === before + 2);
    t.equal(one.of('notifications/cancelled').at(-1)?.message.params?.requestId, unanswered.message.id);
  });

  await t.test('a legacy client that hangs up has not cancelled', async (t) => {
    const before = one.of('notifications/cancelled').length;
    const { held, stream } = await hold(anna, one, 'one', 'hung-up');
    stream.close();
    await held.closed;
    // What is told travels on the same way, and later.
    await anna.request('tools/call', { name: 'one__echo' });
    t.equal(one.of('notifications/cancelled').length, before);
  });

  await t.test('where there is no session to say it on, the end of its stream tells a server', async (t) => {
    const poor = await legacySession(mcpUrl, 'anna-has-a-long-key');
    const cancel = (requestId: string) =>
      poor.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } });
    for (const [name, upstream] of [
      ['fresh', fresh],
      ['plain', plain],
    ] as const) {
      const { held } = await hold(poor, upstream, name, 'x');
      await cancel('x');
      await held.closed;
      t.equal(held.isAborted, true, name);
      const early = poor.request('tools/call', HELD(name), 'y');
      const unanswered = await upstream.nextCall();
      await cancel('y');
      await unanswered.closed;
      t.match(await early, { status: 200, json: { id: 'y', error: { message: /cancelled/ } } }, name);
      t.equal(upstream.of('notifications/cancelled').length, 0, name);
    }
  });

  await t.test('a modern client that hangs up has cancelled', async (t) => {
    const toOld = await holdModern(gateway, 'anna-has-a-long-key', one, 'one');
    const before = one.of('notifications/cancelled').length;
    toOld.stream.close();
    await eventually(() => one.of('notifications/cancelled').length === before + 1);
    const told = one.of('notifications/cancelled').at(-1) as Call;
    t.equal(told.message.params?.requestId, toOld.held.message.id);
    t.equal(told.session, toOld.held.session);
    const toNew = await holdModern(gateway, 'anna-has-a-long-key', fresh, 'fresh');
    toNew.stream.close();
    await toNew.held.closed;
    t.equal(toNew.held.isAborted, true);
    t.equal(fresh.of('notifications/cancelled').length, 0);
  });

  await t.test('what modern clients share, they share with themselves', async (t) => {
    const of = async (key: string, meta: Record<string, unknown> = {}) => {
      const call = await holdModern(gateway, key, one, 'one', meta);
      call.held.result(done);
      await call.stream.rest();
      return call.held;
    };
    const level = { 'io.modelcontextprotocol/logLevel': 'warning' };
    const first = await of('anna-has-a-long-key');
    t.equal((await of('anna-has-a-long-key')).session, first.session);
    t.not((await of('bert-has-a-long-key')).session, first.session, 'another principal');
    const logged = await of('anna-has-a-long-key', level);
    t.not(logged.session, first.session, 'another log level');
    t.equal(one.sessions.get(logged.session ?? '')?.level, 'warning');
    t.same(one.sessions.get(first.session ?? '')?.capabilities, {});
  });

  await t.test('a modern client is never sent a request; its upstream hears that at once', async (t) => {
    const { held, stream } = await holdModern(gateway, 'anna-has-a-long-key', one, 'one');
    held.event(ask('m', 'roots/list'));
    t.match(await one.answerTo('m'), { error: { code: -32601 } });
    held.result(done);
    t.equal((await stream.rest()).length, 1);
  });

  await t.test('what a legacy client tells all of its upstreams', async (t) => {
    await anna.send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
    const told = (upstream: ScriptedUpstream): Call[] => upstream.of('notifications/roots/list_changed');
    await eventually(() => told(one).length === 1 && told(two).length === 1);
    const level = await anna.request('logging/setLevel', { level: 'error' });
    t.same(level.json.result, {});
    await eventually(() => [...one.sessions.values()].some(({ level }) => level === 'error'));
    const late = await legacySession(mcpUrl, 'bert-has-a-long-key', { name: 'late' });
    await late.request('logging/setLevel', { level: 'alert' });
    await late.request('tools/call', { name: 'two__echo' });
    await eventually(() => [...two.sessions.values()].some(({ level }) => level === 'alert'));
    t.match(await late.request('logging/setLevel', { level: 'loud' }), { json: { error: { code: -32602 } } });
    t.match(await late.request('resources/subscribe', { uri: 'two+memo:insights' }), { json: { result: {} } });
    t.ok([...two.sessions.values()].some(({ subscriptions }) => subscriptions.has('memo:insights')));
  });

  await t.test('every call has left one row', async (t) => {
    const sent = [one, two, shared, plain, fresh].reduce((sum, upstream) => sum + upstream.of('tools/call').length, 0);
    const rows = await eventually(async () => {
      const all: { verdict: string; reason: string | null }[] = [];
      let cursor = '';
      do {
        const { json } = await gateway.admin<{ items: typeof all; nextCursor?: string | null }>(
          'GET',
          `audit/events?method=tools/call&limit=100${cursor}`,
        );
        all.push(...json.items);
        cursor = json.nextCursor ? `&cursor=${encodeURIComponent(json.nextCursor)}` : '';
      } while (cursor !== '');
      return all.length > sent && all;
    });
    t.equal(rows.length, sent + 1, 'and so has the one that was taken back before it was made');
    t.ok(rows.some(({ reason }) => reason === 'cancelled by the client'));
  });
});
