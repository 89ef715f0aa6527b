import { OpenAPIHono, type RouteConfig, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { textFault, toProblem, validate } from '../config/problems.ts';
import { skipSpace, walkObject } from '../mcp/json.ts';
import { invalid, Refusal } from './refusal.ts';

/** A room's routes; the app mounts them under /api/v1 and publishes what they say of themselves as OpenAPI. */
export type Api = OpenAPIHono;

/** An empty set of routes. */
export const newApi = (): Api => new OpenAPIHono();

/** A zod schema, or JSON Schema where one is published already (config/json-schema.ts). */
export type BodySchema = z.ZodType | JsonSchema;
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What a route promises. Bodies are checked by the handler, which knows the words; here they are documentation. */
export interface Endpoint<Q> {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** `/connections/{name}/test` */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** Checked: an unknown parameter is an error, like an unknown key of a body. */
  readonly query?: z.ZodType<Q>;
  readonly body?: BodySchema;
  /** Of success; 200 when not written. */
  readonly status?: 200 | 201 | 202 | 204;
  readonly response?: BodySchema;
  /** Statuses of the refusals that a caller must expect besides 401. */
  readonly refusals?: readonly Refusal['status'][];
}

/** One request, reduced to what handlers need. */
export interface ApiRequest<Q> {
  readonly query: Q;
  /** A path parameter, decoded; refused with 400 if it is no text. */
  param(name: string): string;
  header(name: string): string | undefined;
  /** The JSON body; refused with 400 or 415 if it is none. */
  json(): Promise<unknown>;
  text(): Promise<string>;
}

/** What a handler answers: a value (200, JSON), or the whole reply. */
export class Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** Adds a route and its documentation. */
export function endpoint<Q = Record<string, never>>(
  api: Api,
  spec: Endpoint<Q>,
  handle: (request: ApiRequest<Q>) => Promise<unknown>,
): void {
  api.openAPIRegistry.registerPath(documentation(spec));
  const path = spec.path.replaceAll(/\{(\w+)\}/g, ':$1');
  api.on(spec.method.toUpperCase(), path, async (c) => {
    const result = await handle(request(c, spec));
    const reply = result instanceof Reply ? result : new Reply(spec.status ?? 200, result);
    return render(reply);
  });
}

function request<Q>(c: Context, spec: Endpoint<Q>): ApiRequest<Q> {
  const parsed = validate((spec.query ?? z.strictObject({})) as z.ZodType<Q>, c.req.query());
  if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
  return {
    query: parsed.value,
    param(name) {
      const value = c.req.param(name) ?? '';
      const fault = textFault(value);
      if (fault !== undefined) throw invalid([{ path: name, message: fault }]);
      return value;
    },
    header: (name) => c.req.header(name),
    text: () => c.req.text(),
    async json() {
      const type = c.req.header('content-type') ?? 'application/json';
      if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
        throw new Refusal(415, 'Unsupported media type', `Send application/json, not ${type.slice(0, 80)}.`);
      }
      const text = await c.req.text();
      try {
        return JSON.parse(text === '' ? '{}' : text);
      } catch (error) {
        throw new Refusal(400, 'Malformed JSON', `The body is not JSON: ${(error as Error).message.slice(0, 200)}`);
      }
    },
  };
}

/** A member of a JSON body as it was written: parsing would round what JavaScript cannot hold. */
export function rawMember(body: string, name: string): string | undefined {
  const bytes = Buffer.from(body);
  let text: string | undefined;
  walkObject(bytes, skipSpace(bytes, 0), 0, (key, start, end) => {
    if (key === name) text = bytes.toString('utf8', start, end);
  });
  return text;
}

function render({ status, body, headers }: Reply): Response {
  if (body === undefined) return new Response(null, { status, headers });
  if (typeof body === 'string') return new Response(body, { status, headers });
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } });
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'The request does not say what it should; `errors` says where.',
  401: 'The admin token is missing or wrong.',
  404: 'There is no such thing.',
  409: 'It exists already, or a configuration file owns it.',
  412: 'It changed since it was read (`If-Match`).',
  413: 'The body is too large.',
  415: 'The body is not JSON.',
  422: 'The configuration that would result cannot be served.',
  502: 'The upstream or the gateway did not answer as it should.',
  503: 'The database or the gateway is away; try again.',
};

function documentation<Q>(spec: Endpoint<Q>): RouteConfig {
  const parameters = [...spec.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string);
  const json = (schema: BodySchema) => ({ 'application/json': { schema: schema as z.ZodType } });
  const problem = (status: number) => ({
    description: TITLES[status] ?? '',
    content: { 'application/problem+json': { schema: problemSchema } },
  });
  return {
    method: spec.method,
    path: spec.path,
    tags: [spec.tag],
    summary: spec.summary,
    security: [{ adminToken: [] }],
    request: {
      ...(parameters.length > 0 && {
        params: z.object(Object.fromEntries(parameters.map((name) => [name, z.string()]))),
      }),
      ...(spec.query && { query: spec.query as never }),
      ...(spec.body && { body: { content: json(spec.body), required: true } }),
    },
    responses: {
      [spec.status ?? 200]: { description: 'Done.', ...(spec.response && { content: json(spec.response) }) },
      ...Object.fromEntries([401, ...(spec.refusals ?? [])].map((status) => [status, problem(status)])),
    },
  };
}

/** RFC 9457. */
const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .openapi('Problem');

/** A page of things. */
export const pageOf = (item: z.ZodType): z.ZodType =>
  z.object({ items: z.array(item), nextCursor: z.string().optional() });

/** Query of a list: `limit` and the `nextCursor` of the page before. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(500).optional(),
};

/** A cursor is the place where the next page begins, opaque to clients. */
export const encodeCursor = (place: unknown): string => Buffer.from(JSON.stringify(place)).toString('base64url');

/** A place that is a count or an id. */
export const isNumberPlace = (place: unknown): place is number => Number.isSafeInteger(place) && (place as number) >= 0;

/** The place inside a cursor, or a 400. */
export function decodeCursor<T>(cursor: string | undefined, isPlace: (place: unknown) => place is T): T | undefined {
  if (cursor === undefined) return undefined;
  try {
    const place: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (isPlace(place)) return place;
  } catch {
    // Falls through to the refusal.
  }
  throw invalid([{ path: 'cursor', message: 'is not one of ours: begin again without it' }]);
}
