import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { sdkClient } from '../support/mcp.ts';
import { startModern } from '../support/modern-upstream.ts';
import { legacySession, modernPost, resultOf } from '../support/raw-client.ts';
import type { Call } from '../support/scripted-upstream.ts';

const named = (server: string, count: number): { name: string; [key: string]: unknown }[] => [
  ...Array.from({ length: count - 2 }, (_, i) => ({
    name: `tool_${i}`,
    description: `${server} ${'d'.repeat(4000)}`,
    inputSchema: { type: 'object', $schema: 'http://json-schema.org/draft-07/schema#', 'x-vendor': { keep: i } },
  })),
  { name: 'echo', inputSchema: { type: 'object' } },
  { name: 'held', inputSchema: { type: 'object' } },
];

type Mode = 'legacy' | 'auto' | { pin: string };

/** The SDK's second line. */
async function secondClient(t: Test, mcpUrl: string, key: string, mode: Mode): Promise<Client> {
  const client = new Client(
    { name: 'sdk2', version: '1' },
    { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode } },
  );
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { answer: 'yes' } }));
  await client.connect(
    new StreamableHTTPClientTransport(new URL(mcpUrl), {
      requestInit: { headers: { authorization: `Bearer ${key}` } },
    }),
  );
  t.teardown(() => client.close());
  return client;
}

t.test('five hundred tools of two servers, for clients of every kind', async (t) => {
  const [old, fresh] = await Promise.all([
    startLegacy(t, { tools: named('old', 250), pageSize: 37 }),
    startModern(t, { tools: named('fresh', 250), pageSize: 50 }),
  ]);
  const gateway = await startGateway(t, {
    config: `
connections: { old: { url: "${old.url}" }, fresh: { url: "${fresh.url}" } }
namespaces: { default: { connections: ["*"], prefix: always }, other: { connections: [old], prefix: always } }
personas: { all: { roles: [admin], tools: { allow: ["*"] } }, few: { roles: [few], tools: { allow: ["old__tool_1*"] } } }
identity:
  apiKeys:
    - { name: admin, key: admin-has-a-long-key, roles: [admin] }
    - { name: few, key: few-has-a-very-long-key, roles: [few] }
`,
  });
  const key = 'admin-has-a-long-key';
  const { mcpUrl } = gateway;
  await Promise.all(['old', 'fresh'].map((name) => gateway.ready(name)));
  const raw = await legacySession(mcpUrl, key);

  /** All pages, as an agent would read them. */
  async function pages(
    ask: (params: Record<string, unknown>) => Promise<Record<string, unknown>>,
  ): Promise<string[][]> {
    const all: string[][] = [];
    let cursor: unknown;
    do {
      const result = await ask(cursor === undefined ? {} : { cursor });
      all.push((result.tools as { name: string }[]).map(({ name }) => name));
      cursor = result.nextCursor;
    } while (cursor !== undefined && all.length < 50);
    return all;
  }
  const legacyPages = () => pages(async (params) => resultOf(await raw.request('tools/list', params)));
  const modernPages = () => pages(async (params) => resultOf(await modernPost(mcpUrl, key, 'tools/list', params)));
  const seen = await eventually(async () => {
    const all = await legacyPages();
    return all.flat().length === 500 && all;
  });

  await t.test('every page, in one order, nothing twice', async (t) => {
    t.ok(seen.length > 1, `${seen.length} pages`);
    t.equal(new Set(seen.flat()).size, 500);
    t.same(await legacyPages(), seen, 'the same again');
    t.same(await modernPages(), seen, 'and in the other era');
    t.ok(
      old.of('tools/list').some(({ message }) => message.params?.cursor === ''),
      'an empty cursor is one',
    );
    const first = (await raw.request('tools/list')).text;
    t.match(first, /"\$schema":"http:\/\/json-schema.org\/draft-07\/schema#","x-vendor":\{"keep":\d+\}/);
  });

  await t.test('a cursor goes on with its own list, for its own reader', async (t) => {
    const cursor = resultOf(await raw.request('tools/list')).nextCursor as string;
    const few = await legacySession(mcpUrl, 'few-has-a-very-long-key');
    const elsewhere = await legacySession(mcpUrl.replace(/\/mcp$/, '/other/mcp'), key);
    const forged = `${cursor.slice(0, -4)}AAAA`;
    for (const [what, answer] of [
      ['another persona', await few.request('tools/list', { cursor })],
      ['another namespace', await elsewhere.request('tools/list', { cursor })],
      ['another list', await raw.request('prompts/list', { cursor })],
      ['forged', await raw.request('tools/list', { cursor: forged })],
      ['empty', await raw.request('tools/list', { cursor: '' })],
      ['another era', await modernPost(mcpUrl, 'few-has-a-very-long-key', 'tools/list', { cursor })],
    ] as const) {
      t.match(answer, { status: 200, json: { error: { code: -32602 } } }, what);
    }
    t.equal((resultOf(await few.request('tools/list')).tools as unknown[]).length, 111);
  });

  await t.test('the first line of the SDK', async (t) => {
    const client = await sdkClient(t, mcpUrl, key);
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.listTools(cursor === undefined ? {} : { cursor });
      names.push(...page.tools.map(({ name }) => name));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    t.same(names, seen.flat());
    for (const name of ['old', 'fresh']) {
      const result = await client.callTool({ name: `${name}__echo`, arguments: { a: 1 } });
      t.match(JSON.stringify(result.content), /\{\\"a\\":1\}/, name);
      t.equal((await client.readResource({ uri: `${name}+memo:insights` })).contents.length, 1);
      t.equal((await client.getPrompt({ name: `${name}__greet`, arguments: { who: 'x' } })).messages.length, 2);
      await t.rejects(client.readResource({ uri: `${name}+file:///nope` }), { code: -32002 });
    }
  });

  for (const mode of ['legacy', 'auto', { pin: '2026-07-28' }] as const) {
    await t.test(`the second line, ${typeof mode === 'string' ? mode : 'modern'}`, async (t) => {
      const client = await secondClient(t, mcpUrl, key, mode);
      t.equal(client.getNegotiatedProtocolVersion(), mode === 'legacy' ? '2025-11-25' : '2026-07-28');
      const { tools } = await client.listTools();
      t.same(
        tools.map(({ name }) => name),
        seen.flat(),
      );
      t.equal((await client.listPrompts()).prompts.length, 4);
      t.equal((await client.listResources()).resources.length, 8);
      t.equal((await client.listResourceTemplates()).resourceTemplates.length, 2);
      for (const [name, upstream] of [
        ['old', old],
        ['fresh', fresh],
      ] as const) {
        t.match(JSON.stringify(await client.callTool({ name: `${name}__echo`, arguments: { a: 1 } })), /a\\":1/, name);
        t.equal(
          (await client.readResource({ uri: `${name}+memo:insights` })).contents[0]?.uri,
          `${name}+memo:insights`,
        );
        await t.rejects(client.readResource({ uri: `${name}+file:///nope` }), /not found/i);
        const values = await client.complete({
          ref: { type: 'ref/prompt', name: `${name}__greet` },
          argument: { name: 'who', value: '' },
        });
        t.match(values.completion.values[0], /"greet"/);
        const steps: number[] = [];
        const calling = client.callTool(
          { name: `${name}__held` },
          { onprogress: ({ progress }: { progress: number }) => void steps.push(progress) },
        );
        const held: Call = await upstream.nextCall();
        held.progress(1);
        held.progress(2);
        await eventually(() => steps.length === 2);
        held.result({ ...(name === 'fresh' && { resultType: 'complete' }), content: [{ type: 'text', text: 'done' }] });
        t.match((await calling).content, [{ text: 'done' }]);
        t.same(steps, [1, 2], `${name}: progress`);
      }

      // A server that asks, of either era, before a client that can answer.
      const asking = client.callTool({ name: 'old__held' });
      const held: Call = await old.nextCall();
      held.event({
        jsonrpc: '2.0',
        id: 'q',
        method: 'elicitation/create',
        params: { message: 'Sure?', requestedSchema: { type: 'object', properties: { answer: { type: 'string' } } } },
      });
      const heard = await eventually(
        () => old.answers.filter(({ session }) => session === held.session).at(-1)?.message,
      );
      t.match(heard, { id: 'q', result: { action: 'accept', content: { answer: 'yes' } } });
      held.result({ content: [{ type: 'text', text: 'then so' }] });
      t.match((await asking).content, [{ text: 'then so' }]);

      const needy = client.callTool({ name: 'fresh__held' });
      const first: Call = await fresh.nextCall();
      first.result({
        resultType: 'input_required',
        inputRequests: {
          sure: {
            method: 'elicitation/create',
            params: {
              message: 'Sure?',
              requestedSchema: { type: 'object', properties: { answer: { type: 'string' } } },
            },
          },
        },
        requestState: 'opaque-1',
      });
      const again: Call = await fresh.nextCall();
      t.match(again.message.params, {
        name: 'held',
        requestState: 'opaque-1',
        inputResponses: { sure: { action: 'accept', content: { answer: 'yes' } } },
      });
      t.not(again.message.id, first.message.id);
      again.result({ resultType: 'complete', content: [{ type: 'text', text: 'then so' }] });
      t.match((await needy).content, [{ text: 'then so' }]);
    });
  }

  await t.test('a cursor of a list that has changed since is refused, not guessed at', async (t) => {
    const cursor = resultOf(await raw.request('tools/list')).nextCursor as string;
    old.content.tools.push({ name: 'one-more', inputSchema: { type: 'object' } });
    await gateway.admin('POST', 'connections/old/refresh');
    await eventually(async () => (await legacyPages()).flat().length === 501);
    t.match(await raw.request('tools/list', { cursor }), { json: { error: { code: -32602 } } });
  });

  const faults = fresh.faults.filter((text) => !text.startsWith('initialize'));
  t.same(faults, [], 'a strict modern server had nothing to complain of');
});
