import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { freePort, startEverything, startUpstream } from '../support/upstream.ts';
import { type RunOptions, runSallyport } from './sallyport.ts';

const SECRET = 'upstream-secret-0123';

t.test('the verbs, against a gateway that runs', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sp-verbs-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const gateway = await startGateway(t);
  const sallyport = (line: string | readonly string[], options?: RunOptions) =>
    runSallyport(
      directory,
      [...(typeof line === 'string' ? line.split(' ') : line), '--data-dir', gateway.dataDir],
      options,
    );
  /** Runs a command that must work. */
  const done = async (line: string | readonly string[], options?: RunOptions) => {
    const outcome = await sallyport(line, options);
    t.equal(outcome.code, 0, `${line}: ${outcome.err}`);
    return outcome.out;
  };
  const json = async (line: string) => JSON.parse(await done(`${line} --json`));
  const everything = await startEverything(t);
  const guarded = await startUpstream(t, { authorization: `Bearer ${SECRET}` });

  await t.test('connections: added with what they offer, or with what is wrong', async (t) => {
    const added = await done(`connection add everything --url ${everything.url}`);
    t.match(
      added,
      /^everything is ready with \d+ tools, \d+ prompts, \d+ resources, \d+ resource templates\.\n {2}http:\/\/127\.0\.0\.1:\d+\/mcp {2}\(default\)\n$/,
    );

    const env = { GUARDED_TOKEN: SECRET };
    await done(`connection add guarded --url ${guarded.url} --bearer-env GUARDED_TOKEN --wait`, { env });
    const unset = await sallyport(`connection add x --url ${guarded.url} --bearer-env NOPE`);
    t.match(unset, { code: 1, err: 'sallyport: The environment variable NOPE is not set.\n' });

    const dead = await sallyport(`connection add dead --url http://127.0.0.1:${await freePort()}/mcp`);
    t.equal(dead.code, 0, 'it is added, and tried again');
    t.match(dead.out, /^dead is unavailable: .+\nThe gateway tries again by itself/);
    t.match(await sallyport('connection test dead'), { code: 1, out: /^dead does not work: / });

    const twice = await sallyport(`connection add everything --url ${everything.url}`);
    t.match(twice, { code: 1, out: '', err: /There is a connection named "everything" already/ });
    const bad = await sallyport('connection add a__b --url ftp://x --timeout 5');
    t.equal(
      bad.err,
      `sallyport: Invalid request:
  name: "a__b" must not contain "__", which separates a connection from its tools
  url: must begin with http:// or https://
  timeout: must be a duration such as 800ms, 30s, 2m, 1h or 90d
`,
    );

    const list = await done('connection list');
    t.match(list, /^NAME +STATE +MCP +TOOLS +PROMPTS +RESOURCES +TEMPLATES +AUTH +OWNER +URL +LAST ERROR\n/);
    t.match(list, /^guarded +ready +2025-06-18 +1 +0 +0 +0 +bearer +api /m);
    const shown = await json('connection get guarded');
    t.match(shown, { name: 'guarded', auth: { type: 'bearer', token: '[REDACTED]' }, status: { state: 'ready' } });
    t.match(
      await done('connection test guarded'),
      /^guarded works: 1 tool in \d+ ms; it speaks MCP 2025-\d\d-\d\d \(legacy\)\.\n$/,
    );
    t.match(await done('connection refresh guarded'), /^guarded is ready with 1 tool\.\n$/);
    await done('connection remove dead');
    t.match(await sallyport('connection get dead'), {
      code: 1,
      err: 'sallyport: There is no connection named "dead".\n',
    });
  });

  await t.test('namespaces, personas, keys, and why', async (t) => {
    await done('namespace add docs --connection everything --prefix never');
    await done(['namespace', 'set', 'docs', '--description', 'for writers']);
    t.match(await json('namespace get docs'), {
      connections: ['everything'],
      prefix: 'never',
      description: 'for writers',
    });
    t.match(await done('namespace list'), /^docs +http:\/\/127\.0\.0\.1:\d+\/docs\/mcp +never +api +everything$/m);

    t.match(await done('persona list'), /^admin +0 +admin +- +demo/m);
    await done('persona add reader --role reader --allow everything__echo,guarded__* --deny *__delete');
    await done('persona set reader --priority 7 --allow everything__echo');
    t.match(await json('persona get reader'), {
      priority: 7,
      tools: { allow: ['everything__echo'], deny: ['*__delete'] },
    });

    const made = await sallyport('key create ci --role reader --expires 2099-01-31');
    t.match(made.out, /^sp_\S+\n$/, 'only the key is on standard output');
    t.match(made.err, /shown only now/);
    t.match(await done('key list'), /^ci +sp_\S+ +reader +api +\S+ +2099-01-31T00:00 +-$/m);

    t.match(
      await done('persona explain ci everything__echo'),
      /^allowed: .*\n {2}persona {2}reader\n {2}rule .*\n {2}pattern {2}everything__echo\n$/,
    );
    const denied = await json('persona explain role:reader guarded__echo');
    t.match(denied, { allowed: false, persona: 'reader', list: 'tools' });
  });

  await t.test('tools: listed, found, shown and called through the gateway', async (t) => {
    t.match(await done('tool list'), /^everything__echo +everything +Echoes/m);
    t.same(
      (await json('tool list --persona reader')).items.map(({ name }: { name: string }) => name),
      ['everything__echo'],
    );
    t.match(await done('tool list --namespace docs'), /^echo +everything/m);
    t.match(await done('tool search echo'), /^guarded__echo /m);
    t.match(
      await done('tool get everything__echo'),
      /^everything__echo {2}\(echo of everything, definition [0-9a-f]{12}\)\n/,
    );

    t.equal(await eventually(() => done(['tool', 'call', 'everything__echo', '{"message":"hi"}'])), 'Echo: hi\n');
    t.match(await json('tool call guarded__echo {"a":1}'), { jsonrpc: '2.0', result: { content: [{ type: 'text' }] } });
    t.equal(guarded.calls().at(-1)?.headers.authorization, `Bearer ${SECRET}`);
    const denied = await sallyport('tool call guarded__echo {} --as role:reader');
    t.match(denied, { code: 1, out: /No tool named guarded__echo is available to you/ });
  });

  await t.test('audit: filtered, and as it happens', async (t) => {
    const denied = await eventually(async () => {
      const { items } = await json('audit list --verdict denied --method tools/call');
      return items.length > 0 && items;
    });
    t.match(denied, [{ tool: 'guarded__echo', persona: 'reader', verdict: 'denied' }]);
    t.match(
      await done('audit list --tool guarded__echo --since 15m --limit 1'),
      /^TIME +VERDICT .*\n.* denied +\S+ +reader +tools\/call +guarded__echo /,
    );
    t.equal(await done('audit list --tool nothing'), 'No events.\n');

    const tail = sallyport('audit tail --lines 1 --tool everything__echo', {
      until: /everything__echo[\s\S]*everything__echo/,
    });
    // The tail is up when it has printed the past; calling until it ends leaves no race.
    let ended = false;
    void tail.then(() => {
      ended = true;
    });
    while (!ended) await sallyport(['tool', 'call', 'everything__echo', '{"message":"again"}']);
    const { out } = await tail;
    t.ok(out.trim().split('\n').length >= 2, out);
  });

  await t.test('a rule, tried on a call that was recorded', async (t) => {
    const call = ['tool', 'call', 'everything__get-structured-content', '{"location":"Chicago"}'];
    const recorded = () => json('audit list --tool everything__get-structured-content --limit 1');
    writeFileSync(
      join(directory, 'rule.yaml'),
      `enrichment:
  - name: said-again
    connection: everything
    tool: get-structured-content
    source: { tool: everything__echo, bind: { message: "$.response.conditions" } }
    merge: { path: echo }
`,
    );
    await done(call);
    const bare = await eventually(async () => (await recorded()).items[0]);
    const refused = await sallyport(`rule dry-run -f rule.yaml --call ${bare.id}`);
    t.match(refused, { code: 1, err: /only its digest\. Set audit\.record\.results to redacted or full/ });

    writeFileSync(join(directory, 'record.yaml'), 'audit: { record: { results: full } }\n');
    await done('apply -f record.yaml');
    const { id } = await eventually(async () => {
      await done(call);
      const [event] = (await recorded()).items;
      return event?.result && event;
    }, 20_000);
    const out = await done(`rule dry-run -f rule.yaml --call ${id}`);
    t.match(out, /^said-again +merged +tool everything__echo +1 /m, 'a tool that only reads is called');
    t.match(out, /^\+ +"text": "Echo: Light rain \/ drizzle"$/m);
    const nobody = await sallyport(`rule dry-run -f rule.yaml --call ${id} --as role:nobody`);
    t.match(nobody, { code: 1, out: /^said-again +failed .*role:nobody may not call it/m });
    const { items } = await json('audit list --tool everything__echo --limit 1');
    t.match(items, [{ principal: 'admin', arguments: { message: 'Light rain / drizzle' } }], 'under its own name');
    t.same((await json('rule list')).items, [], 'and nothing is stored');
  });

  await t.test('the configuration: exported, compared, applied, and nothing half', async (t) => {
    const yaml = await done('export');
    t.notMatch(yaml, new RegExp(SECRET));
    t.match(yaml, /token:\n +env: GUARDED_TOKEN\n/);
    writeFileSync(join(directory, 'out.yaml'), yaml);
    const env = { GUARDED_TOKEN: SECRET };
    t.equal(await done('diff -f out.yaml', { env }), 'No changes.\n');
    t.same(JSON.parse(await done('export --json')).namespaces.docs, {
      prefix: 'never',
      connections: ['everything'],
      description: 'for writers',
    });

    const changed = yaml.replace('for writers', 'for readers').replace(/ {2}everything:\n {4}url: \S+\n/, '');
    writeFileSync(join(directory, 'broken.yaml'), changed);
    const broken = await sallyport('apply -f broken.yaml', { env });
    t.equal(broken.code, 1);
    t.match(
      broken.err,
      /^sallyport: broken\.yaml:\d+:\d+: namespaces\.docs\.connections\[0\]: there is no connection named "everything"\n$/,
    );
    t.equal(await done('diff -f out.yaml', { env }), 'No changes.\n');

    writeFileSync(join(directory, 'new.yaml'), yaml.replace('for writers', 'for readers'));
    const expected = '~ namespaces docs\n    description: for writers → for readers\n';
    t.equal(
      await done('apply -f new.yaml --dry-run', { env }),
      `${expected}\nNothing was changed: this was a dry run.\n`,
    );
    t.equal(await done('diff -f new.yaml', { env }), expected);
    t.equal(await done('apply -f new.yaml', { env }), `${expected}\nApplied.\n`);
    t.equal(await done('apply -f new.yaml', { env }), 'No changes.\n');
  });

  await t.test('how the gateway is', async (t) => {
    const doctor = await eventually(async () => {
      const outcome = await sallyport('doctor');
      return outcome.code === 0 && outcome.out;
    });
    t.match(doctor, /^ok {4}database: /m);
    t.match(doctor, /^ok {4}connection guarded: offers 1 tools?$/m);
    t.match(await json('xds dump'), { revision: { active: Number } });
    const wrong = await sallyport('doctor --token wrong-token');
    t.match(wrong, { code: 1, out: /^FAIL {2}admin API accepts the token: .* does not accept this admin token/ });
    await done('key revoke ci');
    t.notMatch(await done('key list'), /^ci /m);
    t.match(await done('key list --revoked'), /^ci /m);
  });
});
