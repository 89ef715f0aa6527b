/** A collector: takes traces by OTLP over HTTP, as protobuf or JSON (opentelemetry-proto 1.x), and keeps the spans. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';
import type { Test } from 'tap';

export interface ReceivedSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Record<string, unknown>;
  readonly status: { readonly code: number; readonly message: string };
  readonly resource: Record<string, unknown>;
}

export interface Receiver {
  readonly url: string;
  readonly spans: ReceivedSpan[];
  readonly contentTypes: string[];
}

const PROTO = `
syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5;
  int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`;
const Request = protobuf.parse(PROTO).root.lookupType('ExportTraceServiceRequest');

interface KeyValue {
  key: string;
  value?: Record<string, unknown>;
}
interface Message {
  resourceSpans?: {
    resource?: { attributes?: KeyValue[] };
    scopeSpans?: { spans?: Record<string, unknown>[] }[];
  }[];
}

export async function startReceiver(t: Test, status = 200): Promise<Receiver> {
  const spans: ReceivedSpan[] = [];
  const contentTypes: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const type = request.headers['content-type'] ?? '';
      const bytes = Buffer.concat(chunks);
      contentTypes.push(`${request.url} ${type}`);
      const isJson = type === 'application/json';
      const message = isJson
        ? JSON.parse(bytes.toString())
        : Request.toObject(Request.decode(bytes), { longs: String, bytes: Buffer });
      spans.push(...spansOf(message as Message));
      response.writeHead(status, { 'content-type': type }).end(isJson ? '{}' : '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, contentTypes };
}

function spansOf({ resourceSpans = [] }: Message): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => {
        const status = (span.status ?? {}) as { code?: number; message?: string };
        return {
          name: String(span.name),
          kind: Number(span.kind),
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId),
          traceState: String(span.traceState ?? ''),
          startMs: Number(span.startTimeUnixNano) / 1e6,
          endMs: Number(span.endTimeUnixNano) / 1e6,
          attributes: valuesOf(span.attributes as KeyValue[] | undefined),
          status: { code: status.code ?? 0, message: status.message ?? '' },
          resource: valuesOf(resource?.attributes),
        };
      }),
    ),
  );
}

const hex = (id: unknown): string => (Buffer.isBuffer(id) ? id.toString('hex') : String(id ?? ''));

function valuesOf(pairs: KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map(({ key, value = {} }) => {
      const number = value.intValue ?? value.doubleValue;
      return [key, number === undefined ? (value.stringValue ?? value.boolValue) : Number(number)];
    }),
  );
}
