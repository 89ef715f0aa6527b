/**
 * OpenTelemetry spans: one for each exchange that reaches an upstream, one below it for each rule that ran (semantic
 * conventions of GenAI and MCP). Configured by the standard OTEL_* variables; without them nothing of it is loaded.
 */
import type { Attributes, Context, DiagLogFunction, Span, Tracer } from '@opentelemetry/api';
import type { RuleOutcome } from '../enrichment/rule.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Verdict } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import type { Logger } from './log.ts';
import { callerContext } from './trace-context.ts';

export interface Tracing {
  /** undefined: nobody wants to see it. `startedAt`: as of `performance.now()`, as are all times here. */
  exchange(exchange: Exchange, startedAt: number): ExchangeSpan | undefined;
  /** Sends what is left, and gives up after a while. */
  close(): Promise<void>;
}

export interface ExchangeSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  rule(outcome: RuleOutcome, startedAt: number, endedAt: number): void;
  end(ending: SpanEnding, endedAt: number): void;
}

export interface SpanEnding {
  readonly verdict: Verdict;
  readonly reason?: string | undefined;
  readonly upstreamStatus?: number | undefined;
  readonly isError?: boolean | undefined;
}

export interface TracingOptions {
  /** Where OTEL_* are; the SDK itself reads those of the process. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `processor-0`. */
  readonly role: string;
  readonly version: string;
  readonly log: Logger;
}

export const NO_TRACING: Tracing = { exchange: () => undefined, close: async () => {} };

/** Spans are gathered; an orderly stop waits so long for the last ones. */
const CLOSE_MS = 3000;

export async function startTracing(options: TracingOptions): Promise<Tracing> {
  if (!isWanted(options.env)) return NO_TRACING;
  const [api, { NodeSDK, resources }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-node'),
  ]);
  const sdk = new NodeSDK({
    resource: resources.defaultResource().merge(
      resources.resourceFromAttributes({
        'service.name': 'sallyport',
        'service.version': options.version,
        'service.instance.id': `${options.role}-${process.pid}`,
      }),
    ),
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; the command line, which others would add, may hold a token.
    resourceDetectors: [resources.envDetector],
    // Contexts are passed by hand: on Node 20, following them by itself makes every promise dearer.
    contextManager: null as never,
    textMapPropagator: null,
    // Metrics are read at /metrics, logs are on stderr.
    metricReaders: [],
    logRecordProcessors: [],
  });
  sdk.start();
  const tell = complainer(options.log);
  api.diag.setLogger(
    { error: tell, warn: tell, info: () => {}, debug: () => {}, verbose: () => {} },
    { logLevel: api.DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const tracer = api.trace.getTracer('sallyport', options.version);
  return {
    exchange: (exchange, startedAt) => startExchange(api, tracer, exchange, startedAt),
    async close() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS);
      });
      await Promise.race([sdk.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
      api.trace.disable();
      api.diag.disable();
    },
  };
}

/** OpenTelemetry environment variable specification: an endpoint or an exporter was named, and nothing says no. */
function isWanted(env: TracingOptions['env']): boolean {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return false;
  const exporter = env.OTEL_TRACES_EXPORTER?.trim() ?? '';
  if (exporter !== '') return exporter !== 'none';
  return [env.OTEL_EXPORTER_OTLP_ENDPOINT, env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT].some((url) => url?.trim());
}

const COMPLAIN_MS = 60_000;

/** A collector that is away fails every few seconds: that is told now and then. */
function complainer(log: Logger): DiagLogFunction {
  let last = Number.NEGATIVE_INFINITY;
  return (message) => {
    const now = performance.now();
    if (now - last < COMPLAIN_MS) return;
    last = now;
    log.warn({ detail: message.slice(0, 500) }, 'traces: the exporter has trouble; calls go on as usual');
  };
}

type Api = typeof import('@opentelemetry/api');

function startExchange(api: Api, tracer: Tracer, exchange: Exchange, startedAt: number): ExchangeSpan | undefined {
  const { envelope, target } = exchange;
  if (envelope === undefined) return undefined;
  // URIs and ids are attributes: names of spans stay few.
  const isNamed = target?.kind === 'tool' || target?.kind === 'prompt';
  const span = tracer.startSpan(
    isNamed ? `${envelope.method} ${target.wireName}` : envelope.method || 'response',
    { kind: api.SpanKind.SERVER, startTime: epochMs(startedAt), attributes: attributesOf(exchange) },
    callerContext(api, exchange),
  );
  return span.isRecording() ? new RecordedExchange(api, tracer, span) : undefined;
}

function attributesOf(exchange: Exchange): Attributes {
  const { envelope, target, session, client, persona, connection, principal } = exchange;
  return {
    'mcp.method.name': envelope?.method || undefined,
    'mcp.session.id': session?.id,
    'mcp.protocol.version': client?.protocolVersion,
    'mcp.resource.uri': target?.kind === 'resource' ? target.wireName : undefined,
    'jsonrpc.request.id': envelope?.kind === 'request' ? idOf(envelope) : undefined,
    'gen_ai.operation.name': envelope?.method === 'tools/call' ? 'execute_tool' : undefined,
    'gen_ai.tool.name': target?.kind === 'tool' ? target.wireName : undefined,
    'gen_ai.prompt.name': target?.kind === 'prompt' ? target.wireName : undefined,
    'sallyport.tenant': principal?.tenant,
    'sallyport.namespace': exchange.namespace?.name,
    'sallyport.persona': persona?.name,
    'sallyport.connection': connection?.name,
    'sallyport.request.id': exchange.requestId,
  };
}

/** Without the quotes of a string. */
function idOf(envelope: NonNullable<Exchange['envelope']>): string {
  const text = idText(envelope);
  return text.startsWith('"') ? String(JSON.parse(text)) : text;
}

class RecordedExchange implements ExchangeSpan {
  readonly traceId: string;
  private readonly api: Api;
  private readonly tracer: Tracer;
  private readonly span: Span;
  private readonly context: Context;

  constructor(api: Api, tracer: Tracer, span: Span) {
    this.api = api;
    this.tracer = tracer;
    this.span = span;
    this.traceId = span.spanContext().traceId;
    this.context = api.trace.setSpan(api.ROOT_CONTEXT, span);
  }

  rule(outcome: RuleOutcome, startedAt: number, endedAt: number): void {
    // It did not run.
    if (outcome.outcome === 'skipped' || outcome.outcome === 'off') return;
    const span = this.tracer.startSpan(
      `enrich ${outcome.rule}`,
      { startTime: epochMs(startedAt), attributes: ruleAttributes(outcome) },
      this.context,
    );
    if (outcome.outcome === 'failed') this.fail(span, 'rule', outcome.reason);
    span.end(epochMs(endedAt));
  }

  end({ verdict, reason, upstreamStatus, isError }: SpanEnding, endedAt: number): void {
    const { span } = this;
    span.setAttribute('sallyport.verdict', verdict);
    if (reason !== undefined) span.setAttribute('sallyport.reason', reason);
    if (upstreamStatus !== undefined) span.setAttribute('sallyport.upstream.status', upstreamStatus);
    // `tool_error`: the tool answered that it failed (semantic conventions of MCP).
    if (verdict !== 'allowed') this.fail(span, verdict, reason);
    else if (isError === true) this.fail(span, 'tool_error', undefined);
    span.end(epochMs(endedAt));
  }

  private fail(span: Span, type: string, message: string | undefined): void {
    span.setAttribute('error.type', type);
    span.setStatus({ code: this.api.SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
  }
}

function ruleAttributes({ version, outcome, source, rows, cached, truncated, bytes, reason }: RuleOutcome): Attributes {
  return {
    'sallyport.rule.version': version,
    'sallyport.rule.outcome': outcome,
    'sallyport.rule.source': source,
    'sallyport.rule.rows': rows,
    'sallyport.rule.cached': cached,
    'sallyport.rule.truncated': truncated,
    'sallyport.rule.bytes': bytes,
    'sallyport.rule.reason': reason,
  };
}

const epochMs = (at: number): number => performance.timeOrigin + at;
