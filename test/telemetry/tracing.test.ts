import t, { type Test } from 'tap';
import type { RuleOutcome } from '../../src/enrichment/rule.ts';
import type { Exchange } from '../../src/exchange/exchange.ts';
import { parseEnvelope } from '../../src/mcp/envelope.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { NO_TRACING, startTracing, type Tracing } from '../../src/telemetry/tracing.ts';
import { eventually } from '../support/eventually.ts';
import { type Receiver, startReceiver } from './otlp-receiver.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const OTHER = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

const OTEL = Object.keys(process.env).filter((name) => name.startsWith('OTEL_'));
for (const name of OTEL) delete process.env[name];

/** With these variables, as a process that has them from its start. */
async function withEnv(t: Test, env: Record<string, string>, log = createLogger('test', 'silent')): Promise<Tracing> {
  Object.assign(process.env, env);
  const tracing = await startTracing({ env: process.env, role: 'processor-0', version: '1.2.3', log });
  t.teardown(async () => {
    await tracing.close();
    for (const name of Object.keys(env)) delete process.env[name];
  });
  return tracing;
}

function exchange(headers: Record<string, string> = {}, meta = '', method = 'tools/call'): Exchange {
  const body = Buffer.from(
    `{"jsonrpc":"2.0","id":"c-1","method":"${method}","params":{"name":"crm__get","arguments":{}${meta}}}`,
  );
  const connection = { name: 'crm' };
  return {
    head: { header: (name: string) => headers[name], names: Object.keys(headers) },
    requestId: 'r-1',
    envelope: parseEnvelope(body),
    target: { kind: 'tool', wireName: 'crm__get', upstreamName: 'get', connection },
    connection,
    session: { id: 'session-1' },
    client: { protocolVersion: '2025-11-25' },
    persona: { name: 'analyst' },
    principal: { tenant: 'default' },
    namespace: { name: 'docs' },
  } as unknown as Exchange;
}

const rule = (changes: Partial<RuleOutcome>): RuleOutcome => ({
  rule: 'owner',
  version: 3,
  outcome: 'merged',
  ms: 1,
  ...changes,
});

const endpoint = ({ url }: Receiver) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url });

t.test('without the variables nothing is loaded and nothing done', async (t) => {
  for (const env of [
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_SDK_DISABLED: 'TRUE' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_TRACES_EXPORTER: 'none' },
  ]) {
    const tracing = await startTracing({ env, role: 'p', version: '1', log: createLogger('test', 'silent') });
    t.equal(tracing, NO_TRACING);
    t.equal(tracing.exchange(exchange(), 0), undefined);
  }
});

t.test('a call and its rules, as a collector receives them', async (t) => {
  const receiver = await startReceiver(t);
  const tracing = await withEnv(t, { ...endpoint(receiver), OTEL_RESOURCE_ATTRIBUTES: 'deployment=blue' });
  const startedAt = performance.now();
  const headers = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=1' };
  const span = tracing.exchange(exchange(headers), startedAt);
  t.equal(span?.traceId, TRACE);
  span?.rule(
    rule({ source: 'warehouse', rows: 2, cached: false, bytes: 40, query: 'select secret' }),
    startedAt + 10,
    startedAt + 14,
  );
  span?.rule(rule({ rule: 'tier', outcome: 'failed', source: 'ledger', reason: 'no answer within 1 s' }), 20, 30);
  span?.rule(rule({ rule: 'other', outcome: 'skipped' }), 20, 20);
  span?.rule(rule({ rule: 'broken', outcome: 'off' }), 20, 20);
  span?.end({ verdict: 'allowed', upstreamStatus: 200, isError: false }, startedAt + 50);
  await tracing.close();

  t.same(receiver.contentTypes, ['/v1/traces application/x-protobuf']);
  const call = receiver.spans.find(({ name }) => name === 'tools/call crm__get');
  t.match(call, {
    kind: 2,
    traceId: TRACE,
    parentSpanId: PARENT,
    traceState: 'vendor=1',
    status: { code: 0 },
    resource: {
      'service.name': 'sallyport',
      'service.version': '1.2.3',
      'service.instance.id': `processor-0-${process.pid}`,
      deployment: 'blue',
    },
  });
  t.same(call?.attributes, {
    'mcp.method.name': 'tools/call',
    'mcp.session.id': 'session-1',
    'mcp.protocol.version': '2025-11-25',
    'jsonrpc.request.id': 'c-1',
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'crm__get',
    'sallyport.tenant': 'default',
    'sallyport.namespace': 'docs',
    'sallyport.persona': 'analyst',
    'sallyport.connection': 'crm',
    'sallyport.request.id': 'r-1',
    'sallyport.verdict': 'allowed',
    'sallyport.upstream.status': 200,
  });
  t.ok(Math.abs((call?.endMs ?? 0) - (call?.startMs ?? 0) - 50) < 0.01);
  t.ok(Math.abs((call?.startMs ?? 0) - Date.now()) < 10_000, 'wall clock');
  const rules = receiver.spans.filter(({ name }) => name.startsWith('enrich'));
  t.same(rules.map(({ name }) => name).sort(), ['enrich owner', 'enrich tier'], 'those that ran');
  for (const { traceId, parentSpanId } of rules) t.same([traceId, parentSpanId], [TRACE, call?.spanId]);
  const owner = rules.find(({ name }) => name === 'enrich owner');
  t.same(owner?.attributes, {
    'sallyport.rule.version': 3,
    'sallyport.rule.outcome': 'merged',
    'sallyport.rule.source': 'warehouse',
    'sallyport.rule.rows': 2,
    'sallyport.rule.cached': false,
    'sallyport.rule.bytes': 40,
  });
  t.ok(Math.abs((owner?.endMs ?? 0) - (owner?.startMs ?? 0) - 4) < 0.01);
  t.match(
    rules.find(({ name }) => name === 'enrich tier'),
    {
      status: { code: 2, message: 'no answer within 1 s' },
      attributes: { 'error.type': 'rule', 'sallyport.rule.outcome': 'failed' },
    },
  );
  t.notOk(
    Object.keys(call?.resource ?? {}).some((name) => name.startsWith('process.')),
    'no command line',
  );
});

t.test('whose child it is', async (t) => {
  const receiver = await startReceiver(t);
  const tracing = await withEnv(t, endpoint(receiver));
  const traceOf = (headers: Record<string, string>, meta = ''): string | undefined => {
    const span = tracing.exchange(exchange(headers, meta), performance.now());
    span?.end({ verdict: 'allowed' }, performance.now());
    return span?.traceId;
  };
  const meta = `,"_meta":{"progressToken":1,"traceparent":"00-${TRACE}-${PARENT}-01","tracestate":"a=b"}`;
  t.equal(traceOf({}, meta), TRACE, '_meta (SEP-414)');
  t.equal(traceOf({ traceparent: OTHER }, meta), TRACE, '_meta before the header');
  t.equal(traceOf({ traceparent: OTHER }, ',"_meta":{"traceparent":7}'), 'a'.repeat(32));
  t.equal(traceOf({ traceparent: `cc-${TRACE}-${PARENT}-01-and-more` }), TRACE, 'a later version');
  for (const bad of [
    '',
    'x',
    `ff-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
  ]) {
    t.match(traceOf({ traceparent: bad }), /^(?!4bf92f)[0-9a-f]{32}$/, `a trace of its own for "${bad}"`);
  }
  t.equal(traceOf({ traceparent: `00-${TRACE}-${PARENT}-00` }), undefined, 'whose caller does not sample it');
  await tracing.close();
});

t.test('what went wrong shows', async (t) => {
  const receiver = await startReceiver(t);
  const tracing = await withEnv(t, endpoint(receiver));
  const end = (ending: Parameters<NonNullable<ReturnType<Tracing['exchange']>>['end']>[0]): void =>
    tracing.exchange(exchange(), performance.now())?.end(ending, performance.now());
  end({ verdict: 'failed', reason: 'cannot be reached' });
  end({ verdict: 'allowed', isError: true });
  tracing.exchange(exchange({}, '', 'prompts/list'), 0)?.end({ verdict: 'allowed' }, 1);
  await tracing.close();
  t.match(receiver.spans, [
    {
      status: { code: 2, message: 'cannot be reached' },
      attributes: { 'error.type': 'failed', 'sallyport.verdict': 'failed' },
    },
    { status: { code: 2 }, attributes: { 'error.type': 'tool_error', 'sallyport.verdict': 'allowed' } },
    { attributes: { 'mcp.method.name': 'prompts/list' } },
  ]);
  t.notOk('gen_ai.operation.name' in (receiver.spans[2]?.attributes ?? {}));
});

t.test('JSON, another path and no sampling by the standard variables', async (t) => {
  const receiver = await startReceiver(t);
  const tracing = await withEnv(t, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/somewhere`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_SERVICE_NAME: 'gateway-eu',
  });
  tracing.exchange(exchange({ traceparent: `00-${TRACE}-${PARENT}-01` }), 0)?.end({ verdict: 'allowed' }, 1);
  await tracing.close();
  t.same(receiver.contentTypes, ['/somewhere application/json']);
  t.match(receiver.spans, [{ traceId: TRACE, parentSpanId: PARENT, resource: { 'service.name': 'gateway-eu' } }]);
  const never = await withEnv(t, { ...endpoint(receiver), OTEL_TRACES_SAMPLER: 'always_off' });
  t.equal(never.exchange(exchange(), 0), undefined);
});

t.test('a collector that refuses or is away is told of once, and holds nothing up', async (t) => {
  const receiver = await startReceiver(t, 400);
  const told: unknown[] = [];
  const log = { warn: (...line: unknown[]) => void told.push(line) } as never;
  const tracing = await withEnv(t, { ...endpoint(receiver), OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '1' }, log);
  for (let n = 0; n < 3; n++) tracing.exchange(exchange(), 0)?.end({ verdict: 'allowed' }, 1);
  await tracing.close();
  // One refusal ends the SDK's waiting for the others.
  await eventually(() => receiver.spans.length === 3);
  t.equal(told.length, 1);
  t.match(told, [[{ detail: String }, /traces: the exporter has trouble/]]);
});

t.test('a span costs microseconds', async (t) => {
  const receiver = await startReceiver(t);
  // Almost nothing leaves: what is measured is what a call pays.
  const quiet = {
    OTEL_BSP_MAX_QUEUE_SIZE: '20',
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '20',
    OTEL_BSP_SCHEDULE_DELAY: '60000',
  };
  const tracing = await withEnv(t, { ...endpoint(receiver), ...quiet });
  const one = exchange({ traceparent: `00-${TRACE}-${PARENT}-01` });
  const outcome = rule({ source: 'warehouse', rows: 2, cached: true });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 40; round++) {
    const startedAt = performance.now();
    for (let n = 0; n < 200; n++) {
      const span = tracing.exchange(one, startedAt);
      span?.rule(outcome, startedAt, startedAt);
      span?.end({ verdict: 'allowed' }, startedAt);
    }
    best = Math.min(best, (performance.now() - startedAt) / 200);
  }
  await tracing.close();
  t.comment(`${(best * 1000).toFixed(1)} µs for a call with one rule`);
  t.ok(best < 0.2);
});
