import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { auditApi } from '../audit/api.ts';
import { toolsApi } from '../catalog/api.ts';
import { configJsonSchema } from '../config/json-schema.ts';
import { connectionsApi } from '../connections/api.ts';
import { rulesApi } from '../enrichment/api.ts';
import { keysApi } from '../identity/api.ts';
import { namespacesApi } from '../namespaces/api.ts';
import { packageRoot } from '../package-root.ts';
import { personasApi } from '../policy/api.ts';
import { sourcesApi } from '../sources/api.ts';
import type { Meters } from '../telemetry/meters.ts';
import { configApi } from './config-api.ts';
import type { AdminContext } from './context.ts';
import { mergeMetrics, scrapeWorkers } from './metrics.ts';
import { operationsApi } from './operations-api.ts';
import { readiness } from './readiness.ts';
import { Refusal } from './refusal.ts';

/** Larger than any configuration that Envoy would want to be told. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Answered without the token: what probes, scrapers and editors read. */
const OPEN = new Set(['/api/v1/openapi.json', '/api/v1/config.schema.json']);

/** The admin service: every room's routes under /api/v1, and what operators' machines ask for beside it. */
export function createApp(
  context: AdminContext,
  options: { readonly adminToken: string; readonly meters: Meters },
): OpenAPIHono {
  const app = new OpenAPIHono();
  app.onError((error) => problem(asRefusal(error, context)));
  app.notFound((c) =>
    problem(
      new Refusal(404, 'Not found', `There is nothing at ${c.req.method} ${c.req.path}. See /api/v1/openapi.json.`),
    ),
  );

  const isToken = tokenCheck(options.adminToken);
  app.use('/api/*', async (c, next) => {
    if (!OPEN.has(c.req.path) && !isToken(c.req.header('authorization'))) throw unauthorized();
    return next();
  });
  app.use('/api/*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  for (const room of ROOMS) app.route('/api/v1', room(context));

  app.get('/api/v1/openapi.json', (c) => c.json(openApi(app)));
  app.get('/api/v1/config.schema.json', (c) => c.json(configJsonSchema()));
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', async (c) => {
    const state = await readiness(context);
    return c.json(state, state.status === 'ready' ? 200 : 503);
  });
  app.get('/metrics', async () => {
    const texts = new Map([['', await options.meters.text()], ...(await scrapeWorkers(context.gateway.runtimeDir))]);
    return new Response(mergeMetrics(texts), {
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    });
  });
  app.get('/', () => new Response(FRONT_PAGE, { headers: { 'content-type': 'text/plain; charset=utf-8' } }));
  return app;
}

const ROOMS = [
  connectionsApi,
  namespacesApi,
  personasApi,
  sourcesApi,
  rulesApi,
  keysApi,
  toolsApi,
  auditApi,
  configApi,
  operationsApi,
];

const FRONT_PAGE = `Sallyport

  /api/v1               admin API, with "Authorization: Bearer <admin token>"
  /api/v1/openapi.json  its description
  /api/v1/doctor        what is wrong, and what to do about it
  /healthz /readyz /metrics
`;

function openApi(app: OpenAPIHono) {
  app.openAPIRegistry.registerComponent('securitySchemes', 'adminToken', { type: 'http', scheme: 'bearer' });
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Sallyport admin API', version, description: 'Configures and observes a Sallyport gateway.' },
  });
}

/** Compares digests: neither the length nor the first difference of a wrong token shows in the time it takes. */
function tokenCheck(adminToken: string): (authorization: string | undefined) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = digest(adminToken);
  return (authorization) => {
    const given = /^bearer +(\S+)$/i.exec(authorization?.trim() ?? '')?.[1];
    return given !== undefined && timingSafeEqual(digest(given), expected);
  };
}

const unauthorized = () =>
  new Refusal(
    401,
    'Unauthorized',
    'Send the admin token as "Authorization: Bearer …". It is SALLYPORT_ADMIN_TOKEN, or what `sallyport up` printed at its first start.',
  );

const tooLarge = (): never => {
  throw new Refusal(413, 'Body too large', `The body is larger than ${MAX_BODY_BYTES} bytes.`);
};

/** Everything that is no refusal of ours is a fault: the caller gets a number, the log the cause. */
function asRefusal(error: unknown, { log }: AdminContext): Refusal {
  if (error instanceof Refusal) return error;
  const { name, message, code } = error as { name?: string; message?: string; code?: string };
  if (name === 'VaultError') return new Refusal(503, 'Secret key', message ?? '');
  // Two that came at once: the lock serialises changes, so this is a name taken between two other tables.
  if (code === '23505')
    return new Refusal(409, 'Already exists', 'Something of that name was made at the same moment. Read again.');
  // Class 22, data exceptions: a value that Postgres cannot hold or compare came with the request.
  if (/^22...$/.test(code ?? ''))
    return new Refusal(400, 'Invalid request', `A value of the request cannot be used: ${message}.`);
  if (isDatabaseAway(code, message)) {
    log.warn({ error: message }, 'a request failed because Postgres is away');
    return new Refusal(
      503,
      'Database unavailable',
      'Postgres does not answer; what is configured keeps serving. Try again.',
    );
  }
  const incident = randomUUID();
  log.error({ err: error, incident }, 'a request of the admin API failed');
  return new Refusal(
    500,
    'Internal error',
    `This is a fault of Sallyport; its log tells the cause of incident ${incident}.`,
  );
}

/** Connection exceptions (class 08), shutdowns (57P), statements ended for taking too long, time-outs, and what sockets say. */
function isDatabaseAway(code: string | undefined, message: string | undefined): boolean {
  return (
    /^(08...|57P0.|57014|53300|ECONNREFUSED|ECONNRESET|ENOENT|EPIPE|ETIMEDOUT)$/.test(code ?? '') ||
    /timeout exceeded when trying to connect|Connection terminated|Query read timeout|not queryable/.test(message ?? '')
  );
}

function problem({ status, title, message: detail, problems }: Refusal): Response {
  const body = { type: 'about:blank', title, status, detail, ...(problems.length > 0 && { errors: problems }) };
  const challenge = status === 401 ? { 'www-authenticate': 'Bearer realm="sallyport-admin"' } : {};
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/problem+json', ...challenge },
  });
}
