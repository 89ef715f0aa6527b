/** Spans of the running product, as a collector receives them. */
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession } from '../support/mcp.ts';
import { startReceiver } from '../telemetry/otlp-receiver.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

t.test(
  "a call is a span of its caller's trace, the rule that ran one below it, and the audit names the trace",
  async (t) => {
    const receiver = await startReceiver(t);
    const gateway = await startGateway(t, {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '200' },
    });
    await gateway.ready('demo');
    const session = await openSession(gateway.mcpUrl, gateway.key);
    const { status } = await gateway.admin('POST', 'rules', {
      name: 'clock',
      connection: 'demo',
      tool: 'add',
      source: { tool: 'demo__now', bind: {} },
      merge: { path: 'at' },
    });
    t.equal(status, 201);
    const call =
      '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"demo__add","arguments":{"numbers":[1,2]}}}';
    await eventually(async () => {
      const { json } = await session.send(call, { traceparent: `00-${TRACE}-${PARENT}-01` });
      return (json.result?.structuredContent as { at?: object } | undefined)?.at !== undefined;
    });
    const rule = await eventually(() => receiver.spans.find(({ name }) => name === 'enrich clock'));
    const parent = await eventually(() => receiver.spans.find(({ spanId }) => spanId === rule.parentSpanId));
    t.match(parent, { name: 'tools/call demo__add', traceId: TRACE, parentSpanId: PARENT });
    t.match(parent.attributes, {
      'mcp.method.name': 'tools/call',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'demo__add',
      'mcp.session.id': /^[0-9a-f-]{36}$/,
      'jsonrpc.request.id': '7',
      'sallyport.persona': 'admin',
      'sallyport.verdict': 'allowed',
    });
    t.match(rule.attributes, { 'sallyport.rule.outcome': 'merged', 'sallyport.rule.source': 'tool demo__now' });
    const row = await eventually(async () => {
      const { json } = await gateway.admin<{ items: { traceId: string }[] }>('GET', 'audit/events?tool=demo__add');
      return json.items[0];
    });
    t.equal(row.traceId, TRACE);
  },
);
