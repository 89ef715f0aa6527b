import { connect } from 'node:net';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Answer, post } from '../support/mcp.ts';
import { modernPost, modernRequest } from '../support/raw-client.ts';
import type { Call } from '../support/scripted-upstream.ts';
import { done, idOf, MIB, residentMib, resultText, stand, toolText, type Way, ways } from './hostile.ts';

t.test('what upstreams and clients do that they should not', async (t) => {
  const { gateway, old, fresh, legacy } = await stand(t);
  const { mcpUrl, key } = gateway;
  const all = ways(gateway, legacy, old, fresh);

  await t.test('each event arrives before the next is sent', async (t) => {
    for (const { name, open } of all) {
      for (const padding of ['', 'x'.repeat(200)]) {
        const { held, stream: opening } = await open(padding);
        held.raw(': begun\n\n');
        const stream = await opening;
        for (const n of [1, 2, 3]) {
          held.event({ jsonrpc: '2.0', method: 'vendor/step', params: { n } });
          t.match((await stream.next())?.message, { params: { n } }, name);
        }
        // Also when it comes in crumbs.
        for (const byte of `data: {"jsonrpc":"2.0","method":"vendor/step","params":{"n":4}}\n\n`) held.raw(byte);
        t.match((await stream.next())?.message, { params: { n: 4 } }, name);
        held.result(done);
        t.match((await stream.rest()).at(-1)?.message, { id: 1, result: done }, name);
      }
    }
  });

  await t.test('what is no answer to this request is not given for one', async (t) => {
    const response = (id: unknown): unknown => ({ jsonrpc: '2.0', id, result: { content: [], forged: true } });
    for (const { name, open } of all) {
      const { held, stream } = await open();
      held.raw('data: <html>\n\nnonsense\n\ndata\n\n: comment\n\ndata: [1,2]\n\ndata: {"jsonrpc":"2.0"\n\n');
      held.raw(Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0xfe, 0x00, 0x0a, 0x0a]));
      held.event(`${'['.repeat(400)}${']'.repeat(400)}`);
      for (const id of [2, '1', null, 1e21, { a: 1 }, [1]]) held.event(response(id));
      held.event(`{"jsonrpc":"2.0","id":${idOf(held)},"id":5,"result":{"forged":true}}`);
      held.event('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progressToken":2}}');
      held.event(resultText(held));
      held.event(response(held.message.id));
      held.event({ jsonrpc: '2.0', method: 'vendor/late' });
      held.end();
      const events = await (await stream).rest();
      t.notMatch(events.map(({ data }) => data).join(), /forged|late/, name);
      t.match(events.at(-1)?.message, { id: 1, result: done }, name);
      t.equal(events.filter(({ message }) => 'id' in message).length, 1, `${name}: one response`);
    }
  });

  await t.test('nothing is smuggled past between the lines', async (t) => {
    const hidden = '{"jsonrpc":"2.0","id":1,"result":{"content":[],"smuggled":true}}';
    for (const { name, open } of all) {
      const { held, stream } = await open();
      held.raw(`\ufeffdata: {"jsonrpc":"2.0","id":2,"result":{"smuggled":true}}\n\n`);
      held.raw(
        `data: {"jsonrpc":"2.0","method":"x","params":\n\rdata: ${hidden.replace('"id":1', '"id":77')}\n\rdata: }\n\n`,
      );
      held.event(resultText(held));
      held.end();
      const events = await (await stream).rest();
      t.notMatch(events.map(({ data }) => data).join(), /smuggled/, name);
      t.match(events.at(-1)?.message, { id: 1, result: done }, name);
    }
  });

  await t.test('an answer that breaks off is an answer that says so', async (t) => {
    for (const { name, open } of all) {
      const ended = await open();
      ended.held.event({ jsonrpc: '2.0', method: 'vendor/step' });
      ended.held.end();
      const events = await (await ended.stream).rest();
      t.match(events.at(-1)?.message, { id: 1, result: { isError: true } }, name);
      t.match(toolText(events.at(-1) as never), /ended before the response/, name);

      const json = await open();
      json.held.json('{"jsonrpc":"2.0","id":1,"result":{');
      t.match(toolText((await (await json.stream).next()) as never), /not a JSON-RPC response/, name);
      for (const odd of ['[]', 'null', '"x"', '{}', '{"jsonrpc":"2.0","id":99,"result":{}}']) {
        const { held, stream } = await open();
        held.json(odd);
        t.match(toolText((await (await stream).next()) as never), /not a JSON-RPC response/, `${name} ${odd}`);
      }
      const empty = await open();
      empty.held.response.writeHead(200, { 'content-type': 'text/event-stream' }).end();
      const last = (await (await empty.stream).rest()).at(-1);
      t.match(last?.message, { id: 1, result: { isError: true } }, `${name}: nothing at all`);
    }
  });

  await t.test('a result that is no object harms nobody', async (t) => {
    for (const { name, open } of all) {
      for (const result of ['"}"', '[]', '"}{"', '5', 'null']) {
        const { held, stream } = await open();
        held.json(`{"jsonrpc":"2.0","id":${idOf(held)},"result":${result}}`);
        t.match((await (await stream).next())?.message, { jsonrpc: '2.0', id: 1 }, `${name} ${result}`);
      }
    }
  });

  await t.test('twenty megabytes pass in bounded memory, or are refused', async (t) => {
    const big = 'x'.repeat(20 * MIB);
    for (const { name, open, upstream } of all) {
      for (const form of ['json', 'events'] as const) {
        const before = residentMib(gateway, 'processor');
        const { held, stream: opening } = await open();
        const text = resultText(held, { content: [{ type: 'text', text: big }] });
        if (form === 'json') held.json(text);
        else {
          held.event(text);
          held.end();
        }
        const stream = await opening;
        const got = await stream.rest(20_000);
        const grown = residentMib(gateway, 'processor') - before;
        const isSame = name.startsWith('legacy client, old') || name.startsWith('modern client, fresh');
        if (form === 'json' && isSame) t.equal(toolText(got.at(-1) as never).length, big.length, name);
        else {
          t.match(got.at(-1)?.message, { id: 1 }, `${name} ${form}: the client hears something`);
          t.match(
            got.length > 0 ? toolText(got.at(-1) as never) : '',
            /larger than 16 MiB|an event of more than/,
            `${name} ${form}`,
          );
        }
        t.ok(grown < 200, `${name} ${form}: ${Math.round(grown)} MiB more`);
        await eventually(() => held.isAborted || held.response.writableFinished);
      }
      t.ok(upstream.calls.length > 0);
    }
  });

  await t.test('a large answer that is edited on its way has the length that it has', async (t) => {
    const text = 'x'.repeat(3 * MIB);
    for (const { name, open } of all) {
      for (const padding of ['', 'x'.repeat(200)]) {
        const { held, stream } = await open(padding);
        const more = name.endsWith('fresh server') ? { resultType: 'complete' } : {};
        held.json(
          resultText(held, {
            ...more,
            content: [
              { type: 'text', text },
              { type: 'resource_link', uri: 'file:///a.txt' },
            ],
          }),
        );
        const [answer] = await (await stream).rest();
        t.equal(toolText(answer as never).length, text.length, name);
        t.match(answer?.data.slice(-60), /"uri":"(old|fresh)\+file:/, name);
      }
    }
  });

  await t.test('an event without an end is cut, and its upstream with it', async (t) => {
    for (const { name, open } of all) {
      const before = residentMib(gateway, 'processor');
      const { held, stream: opening } = await open();
      held.raw('data: ');
      const chunk = Buffer.alloc(64 * 1024, 0x78);
      let sent = 0;
      const pump = (): void => {
        while (!held.response.destroyed && held.response.write(chunk)) sent += chunk.length;
      };
      held.response.on('drain', pump);
      pump();
      const events = await (await opening).rest(20_000);
      t.match(events.at(-1)?.message, { id: 1 }, `${name}: the client hears why`);
      await eventually(() => held.response.destroyed);
      t.ok(sent < 64 * MIB, `${name}: cut after ${Math.round(sent / MIB)} MiB`);
      t.ok(residentMib(gateway, 'processor') - before < 200, name);
    }
  });

  await t.test('a client that does not read holds its upstream up, not the gateway', async (t) => {
    const before = residentMib(gateway, 'processor') + residentMib(gateway, 'envoy');
    const { held, stream: opening } = await (all[0] as Way).open();
    held.raw(': begun\n\n');
    const stream = await opening;
    const event = `data: {"jsonrpc":"2.0","method":"vendor/x","params":{"p":"${'x'.repeat(MIB)}"}}\n\n`;
    let sent = 0;
    let isStalled = false;
    for (; sent < 150 && !isStalled; sent++) {
      if (held.response.write(event)) continue;
      isStalled = !(await Promise.race([
        new Promise<boolean>((resolve) => held.response.once('drain', () => resolve(true))),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 1000)),
      ]));
    }
    t.ok(isStalled, `stalled after ${sent} MiB`);
    const grown = residentMib(gateway, 'processor') + residentMib(gateway, 'envoy') - before;
    t.ok(grown < 200, `${Math.round(grown)} MiB more`);
    stream.close();
    await held.closed;
  });

  await t.test('an upstream that never ends its answer', async (t) => {
    const { held, stream: opening } = await (all[0] as Way).open();
    held.event(resultText(held));
    const stream = await opening;
    t.match((await stream.next())?.message, { id: 1, result: done });
    t.equal(await stream.next(5000), undefined, 'the response ends the stream');
    await eventually(() => held.response.destroyed, 5000);
  });

  await t.test('a server that asks without end slows nobody but itself', async (t) => {
    const { held, stream: opening } = await (all[0] as Way).open();
    held.raw(': begun\n\n');
    const stream = await opening;
    const before = residentMib(gateway, 'processor');
    const pings = Array.from({ length: 20_000 }, (_, i) => `data: {"jsonrpc":"2.0","id":${i},"method":"ping"}\n\n`);
    held.raw(pings.join(''));
    const began = performance.now();
    t.equal((await legacy.request('tools/call', { name: 'fresh__echo' })).status, 200);
    const took = performance.now() - began;
    t.ok(took < 2000, `another call took ${Math.round(took)} ms`);
    held.result(done);
    t.match((await stream.rest()).at(-1)?.message, { id: 1, result: done });
    t.ok(old.answers.length > 0, 'some of it is answered');
    t.ok(old.answers.length < 5000, `but not all: ${old.answers.length}`);
    t.ok(residentMib(gateway, 'processor') - before < 100);
  });

  await t.test('half a request waits alone', async (t) => {
    const { port } = new URL(mcpUrl);
    const half = connect(Number(port), '127.0.0.1');
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
    half.write(
      `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\nmcp-session-id: ${legacy.id}\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 20)}`,
    );
    t.equal((await legacy.request('tools/list')).status, 200, 'others are served');
    const answered = new Promise<string>((resolve) => half.once('data', (data) => resolve(data.toString())));
    half.write(body.slice(20));
    t.match(await answered, /^HTTP\/1.1 200/, 'and it is, once it is whole');
    half.destroy();
    const cut = connect(Number(port), '127.0.0.1');
    cut.write(
      `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{`,
    );
    cut.end();
    t.equal((await legacy.request('tools/list')).status, 200);
  });

  await t.test('an Origin alone is enough to be refused, whatever is asked', async (t) => {
    const evil = { origin: 'https://evil.example' };
    const { body, headers } = modernRequest('tools/list');
    t.equal((await post(mcpUrl, key, body, { ...headers, ...evil })).status, 403);
    t.equal((await post(mcpUrl, key, '{"jsonrpc":"2.0","id":1,"method":"ping"}', evil)).status, 403);
    for (const [method, path] of [
      ['GET', '/mcp'],
      ['DELETE', '/mcp'],
      ['GET', '/sse'],
      ['GET', '/default/sse'],
    ] as const) {
      const answer = await fetch(new URL(path, mcpUrl), {
        method,
        headers: {
          ...evil,
          authorization: `Bearer ${key}`,
          'mcp-session-id': legacy.id,
          ...(method === 'GET' && { accept: 'text/event-stream' }),
        },
      });
      t.equal(answer.status, 403, `${method} ${path}`);
      await answer.body?.cancel();
    }
    t.equal((await legacy.request('tools/list')).status, 200, 'and the session is still there');
  });

  await t.test('headers of any size, and those that are ours', async (t) => {
    const refused = await modernPost(
      mcpUrl,
      key,
      'tools/call',
      { name: 'x' },
      { headers: { 'mcp-name': 'x'.repeat(80_000) } },
    );
    t.equal(refused.status, 431);
    t.match(refused.json.error, { code: Number, message: /./ }, `a JSON-RPC error: ${refused.text}`);
    const long = await modernPost(
      mcpUrl,
      key,
      'tools/call',
      { name: 'x' },
      { headers: { 'mcp-name': 'x'.repeat(20_000) } },
    );
    t.match(long, { status: 400, json: { error: { code: -32020 } } });
    for (const forged of [
      { 'x-sallyport-route': 'default/old' },
      { 'x-sallyport-route': 'relay', 'x-sallyport-ticket': 'forged' },
      { 'x-sallyport-answer': 'forged', 'x-sallyport-route': 'edge' },
      { 'x-sallyport-principal': 'admin' },
    ]) {
      const answer: Answer = await post(
        mcpUrl,
        undefined,
        '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
        forged as Record<string, string>,
      );
      t.equal(answer.status, 401, JSON.stringify(forged));
      const served = await modernPost(
        mcpUrl,
        key,
        'tools/call',
        { name: 'old__echo' },
        { headers: forged as Record<string, string> },
      );
      t.equal(served.status, 200);
      t.notOk(
        Object.keys((old.of('tools/call').at(-1) as Call).headers).some((name) => name.startsWith('x-sallyport')),
      );
    }
    for (const path of ['/relay', '/answer', '/mcp/relay', '/default/relay']) {
      const answer = await fetch(new URL(path, mcpUrl), {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: '{}',
      });
      t.equal(answer.status, 404, path);
      await answer.body?.cancel();
    }
  });

  await t.test("Envoy's own words are for Envoy", async (t) => {
    const before = old.of('tools/call').length;
    const opening = post(mcpUrl, key, '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"old__held"}}', {
      ...legacy.headers,
      'x-envoy-retry-on': '5xx,reset',
      'x-envoy-max-retries': '5',
      'x-envoy-upstream-rq-timeout-ms': '1',
      'x-envoy-original-path': '/evil',
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-proto': 'https',
    });
    const held = await old.nextCall();
    held.json({}, 503);
    t.match(toolText({ message: (await opening).json }), /HTTP 503/);
    t.equal(old.of('tools/call').length, before + 1, 'called once');
    t.notOk(Object.keys(held.headers).some((name) => /^x-(envoy|forwarded)/.test(name)));

    // An upstream that speaks as if it were Envoy, or one of ours.
    const { held: liar, stream } = await (all[0] as Way).open();
    const text = resultText(liar);
    liar.json(text, 200, {
      'x-sallyport-local-reply': 'UF forged',
      'x-envoy-upstream-service-time': '1',
      'set-cookie': 'a=b',
      'mcp-session-id': 'forged',
      'www-authenticate': 'Bearer',
      location: 'https://evil.example',
    });
    const answer = await stream;
    t.match((await answer.next())?.message, { result: done });
    const names = [...answer.headers.keys()].filter((name) =>
      /sallyport|envoy|cookie|session|authenticate|location/.test(name),
    );
    t.same(names, []);
  });

  await t.test('methods that are none', async (t) => {
    for (const method of ['PUT', 'PATCH', 'OPTIONS', 'HEAD']) {
      const answer = await fetch(mcpUrl, { method, headers: { authorization: `Bearer ${key}` } });
      t.equal(answer.status, 405, method);
      await answer.body?.cancel();
    }
    const huge = await legacy.request('tools/call', { name: 'old__echo' }, 'i'.repeat(100_000));
    t.equal(String(huge.json.id).length, 100_000, 'an id of any length comes back');
    t.equal(String((await legacy.request('tools/list', {}, 'i'.repeat(100_000))).json.id).length, 100_000);
    const large = await legacy
      .request('tools/call', { name: 'old__echo', arguments: { a: 'x'.repeat(20 * MIB) } })
      .catch(String);
    t.match(large, { status: 413, json: { error: { message: /larger than/ } } }, 'a request that is too large');
  });

  t.equal((await legacy.request('tools/call', { name: 'old__echo' })).status, 200, 'everybody is still well');
  t.notMatch(gateway.output(), /exchange failed/, 'and nothing of this was a bug');
});
