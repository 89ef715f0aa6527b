import { z } from '@hono/zod-openapi';
import { parseDocumentBody } from '../config/bodies.ts';
import type { ConfigChange } from '../config/diff.ts';
import type { ConfigDocument } from '../config/document.ts';
import { toExport, toYaml } from '../config/export.ts';
import { strict } from '../config/fields.ts';
import { parseConfigFile, problemLine } from '../config/file.ts';
import { configJsonSchema } from '../config/json-schema.ts';
import { toProblem, validate } from '../config/problems.ts';
import { resolveDocument } from '../config/resolve.ts';
import type { Queryable } from '../storage/database.ts';
import { applyDocument } from './apply.ts';
import type { AdminContext } from './context.ts';
import {
  type Api,
  type ApiRequest,
  decodeCursor,
  encodeCursor,
  endpoint,
  isNumberPlace,
  newApi,
  pageOf,
  pageQuery,
  Reply,
} from './endpoint.ts';
import { diffAgainst, exportDocument } from './export.ts';
import { invalid, notFound, Refusal } from './refusal.ts';
import { rollbackDocument } from './rollback.ts';
import { findRevision, listRevisions } from './store.ts';

/** `config`: the whole configuration at once, and its history. */
export function configApi(context: AdminContext): Api {
  const { database, vault, writer, tenant } = context;
  const api = newApi();
  const tag = 'config';

  const apply = async (trx: Queryable, document: ConfigDocument): Promise<ConfigChange[]> => {
    const changes = await diffAgainst(trx, vault, tenant, document);
    await applyDocument({ db: trx, vault, tenant, as: 'api' }, document);
    return changes;
  };

  endpoint(
    api,
    {
      method: 'get',
      path: '/config/export',
      tag,
      summary: 'The configuration in the shape of sallyport.yaml; secrets as their references, or [REDACTED]',
      query: z.strictObject({ format: z.enum(['json', 'yaml']).optional() }),
      response: wholeSchema,
    },
    async (request) => {
      const document = await exportDocument(database.kysely, tenant);
      const wantsYaml =
        request.query.format === 'yaml' || (!request.query.format && /\byaml\b/.test(request.header('accept') ?? ''));
      return wantsYaml ? new Reply(200, toYaml(document), { 'content-type': 'application/yaml' }) : toExport(document);
    },
  );

  endpoint(
    api,
    {
      method: 'post',
      path: '/config/apply',
      tag,
      summary: 'Make the written sections what the document says, all or nothing; JSON, or YAML as application/yaml',
      query: z.strictObject({ dryRun: z.enum(['true', 'false']).default('false') }),
      body: wholeSchema,
      response: z.object({ dryRun: z.boolean(), changes: changesSchema, revision: z.int().nullable() }),
      refusals: [400, 409, 422],
    },
    async (request) => {
      const document = await readDocument(request, context);
      if (request.query.dryRun === 'true') {
        const changes = await writer.rehearse((trx) => apply(trx, document));
        return { dryRun: true, changes, revision: null };
      }
      const change = { author: 'admin api', reason: 'apply' };
      const { value: changes, revision } = await writer.change(change, (trx) => apply(trx, document));
      return { dryRun: false, changes, revision: revision ?? null };
    },
  );

  endpoint(
    api,
    {
      method: 'post',
      path: '/config/diff',
      tag,
      summary: 'What applying the document would change; nothing is checked against the rest or kept',
      body: wholeSchema,
      response: z.object({ changes: changesSchema }),
      refusals: [400],
    },
    async (request) => {
      const document = await readDocument(request, context);
      return { changes: await diffAgainst(database.kysely, vault, tenant, document) };
    },
  );

  endpoint(
    api,
    {
      method: 'get',
      path: '/config/revisions',
      tag,
      summary: 'Revisions, the newest first',
      query: z.strictObject(pageQuery),
      response: pageOf(revisionSchema),
    },
    async ({ query }) => {
      const before = decodeCursor(query.cursor, isNumberPlace);
      const rows = await listRevisions(database.kysely, {
        before,
        limit: query.limit + 1,
      });
      const items = rows.slice(0, query.limit).map(shown);
      return { items, ...(rows.length > query.limit && { nextCursor: encodeCursor(items.at(-1)?.id) }) };
    },
  );

  endpoint(
    api,
    {
      method: 'get',
      path: '/config/revisions/{id}',
      tag,
      summary: 'One revision with its document; no secret is inside',
      response: revisionSchema.extend({ document: z.looseObject({}) }),
      refusals: [404],
    },
    async (request) => {
      const revision = await mustFind(database.kysely, request.param('id'));
      return { ...shown(revision), document: revision.document };
    },
  );

  endpoint(
    api,
    {
      method: 'post',
      path: '/config/rollback',
      tag,
      summary: 'Make the configuration what a revision says, as a new revision; secrets stay what they are now',
      body: rollbackSchema,
      response: z.object({ changes: changesSchema, revision: z.int().nullable() }),
      refusals: [400, 404, 409, 422],
    },
    async (request) => {
      const parsed = validate(rollbackSchema, await request.json());
      if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
      const target = await mustFind(database.kysely, String(parsed.value.revision));
      const document = rollbackDocument(target.document, tenant);
      const change = { author: 'admin api', reason: `roll back to revision ${target.id}` };
      const { value: changes, revision } = await writer.change(change, (trx) => apply(trx, document));
      return { changes, revision: revision ?? null };
    },
  );
  return api;
}

/** The published schema of sallyport.yaml, without what makes it a document of its own. */
const { $schema: _, $id: __, ...wholeSchema } = configJsonSchema() as Record<string, unknown>;

const rollbackSchema = strict({ revision: z.int().min(1) });

async function mustFind(db: Queryable, id: string) {
  const revision = /^\d{1,15}$/.test(id) ? await findRevision(db, Number(id)) : undefined;
  if (revision === undefined) throw notFound('revision', id);
  return revision;
}

/** The body as a document with its references resolved. */
async function readDocument(request: ApiRequest<unknown>, { secretSources }: AdminContext): Promise<ConfigDocument> {
  const isYaml = /^(application|text)\/(x-)?yaml\b/.test(request.header('content-type') ?? '');
  const document = isYaml ? await readYaml(request, secretSources.env) : await readJson(request);
  const resolved = resolveDocument(document, secretSources);
  if ('problems' in resolved) throw invalid(resolved.problems);
  return resolved.value;
}

async function readJson(request: ApiRequest<unknown>): Promise<ConfigDocument> {
  const parsed = parseDocumentBody(await request.json());
  if ('problems' in parsed) throw invalid(parsed.problems);
  return parsed.value;
}

async function readYaml(
  request: ApiRequest<unknown>,
  env: AdminContext['secretSources']['env'],
): Promise<ConfigDocument> {
  const parsed = parseConfigFile(await request.text(), 'body', env);
  if ('document' in parsed) return parsed.document;
  const problems = parsed.problems.map(({ path, message, line, column }) => ({
    path,
    message: `${message} (line ${line}, column ${column})`,
  }));
  throw new Refusal(
    400,
    'Invalid configuration',
    parsed.problems.map((one) => problemLine('body', one)).join('\n'),
    problems,
  );
}

function shown(row: Awaited<ReturnType<typeof listRevisions>>[number]) {
  return {
    id: row.id,
    author: row.author,
    reason: row.reason,
    createdAt: row.created_at.toISOString(),
    activeAt: row.active_at?.toISOString() ?? null,
  };
}

const revisionSchema = z
  .object({
    id: z.int(),
    author: z.string(),
    reason: z.string(),
    createdAt: z.string(),
    activeAt: z.string().nullable(),
  })
  .openapi('Revision');

const changesSchema = z.array(
  z
    .object({
      kind: z.enum(['added', 'changed', 'removed']),
      section: z.enum(['settings', 'connections', 'namespaces', 'personas', 'apiKeys', 'sources', 'rules']),
      name: z.string().optional(),
      fields: z.array(z.object({ path: z.string(), before: z.unknown(), after: z.unknown() })),
    })
    .openapi('ConfigChange'),
);
