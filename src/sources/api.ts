import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { parseSourceBody } from '../config/bodies.ts';
import type { SourceConfig } from '../config/document.ts';
import { resolveSecrets } from '../config/resolve.ts';
import { writtenSource } from '../config/written.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { type Api, endpoint, newApi } from '../control-plane/endpoint.ts';
import { namedResource, withoutReadOnly } from '../control-plane/named-resource.ts';
import { invalid, notFound, Refusal } from '../control-plane/refusal.ts';
import { SOURCE_STATES, sourceStates } from '../control-plane/source-health.ts';
import { revealDraft, SecretProblems, saveWithSecrets } from '../credentials/rows.ts';
import { findRow, listRows } from '../storage/named-rows.ts';
import { definitionOf } from './definition.ts';
import { SourceError, type SourceTest } from './source.ts';
import { testSource } from './test-source.ts';
import { within } from './within.ts';

/** Longer than a source may take to wake up, shorter than a person waits. */
const TEST_LIMIT_MS = 15_000;

/** `sources`: where rules get what they add, and trying one out. */
export function sourcesApi(context: AdminContext): Api {
  const { database, vault, tenant } = context;
  const api = newApi();
  const parse = (body: unknown) => {
    const parsed = parseSourceBody(body);
    if ('problems' in parsed) return parsed;
    const resolved = resolveSecrets(parsed.value.config, context.secretSources);
    return 'problems' in resolved ? resolved : { value: { ...parsed.value, config: resolved.value } };
  };
  const test = async (name: string | undefined, config: SourceConfig): Promise<SourceTest> => {
    try {
      const revealed = await revealDraft(database.kysely, vault, 'sources', { tenant, name, config });
      return await tryOut(tenant, name ?? 'draft', revealed);
    } catch (error) {
      throw error instanceof SecretProblems ? invalid(error.problems) : error;
    }
  };

  const own = { method: 'post', tag: 'sources', response: testSchema } as const;
  endpoint(
    api,
    {
      ...own,
      path: '/sources/{name}/test',
      summary: 'Ask a source who it is, past breaker and cache',
      refusals: [404],
    },
    async (request) => {
      const row = await findRow(database.kysely, 'sources', tenant, request.param('name'));
      if (row === undefined) throw notFound('source', request.param('name'));
      return test(row.name, row.config);
    },
  );
  endpoint(
    api,
    {
      ...own,
      path: '/sources/test',
      summary: 'The same of a draft, which is not stored; [REDACTED] stands for the secrets of the source it names',
      body: { $ref: '#/components/schemas/SourceBody' },
      refusals: [400],
    },
    async (request) => {
      const parsed = parse(withoutReadOnly(await request.json()));
      if ('problems' in parsed) throw invalid(parsed.problems);
      return test(parsed.value.name, parsed.value.config);
    },
  );

  namedResource(api, context, {
    table: 'sources',
    kind: 'source',
    parse,
    write: writtenSource,
    save: (trx, wanted) => saveWithSecrets(trx, vault, 'sources', wanted),
    extra: {
      schema: { status: { type: 'object', properties: { state: { enum: SOURCE_STATES } } } },
      async read(_db, rows) {
        const states = await sourceStates(context.gateway.runtimeDir, tenant);
        return new Map(rows.map(({ id, name }) => [id, { status: { state: states.get(name) ?? 'unused' } }]));
      },
    },
    async mayRemove(trx, { name }) {
      const rules = await listRows(trx, 'rules', tenant);
      const users = rules.filter(({ config: { source } }) => 'use' in source && source.use === name);
      if (users.length === 0) return;
      const names = users.map((rule) => `"${rule.name}"`).join(', ');
      throw new Refusal(
        409,
        'In use',
        `The source "${name}" is used by the rules ${names}: remove or change them first.`,
      );
    },
  });
  return api;
}

/** `config` has its secrets as plain text. */
async function tryOut(tenant: string, name: string, config: SourceConfig): Promise<SourceTest> {
  const definition = definitionOf(tenant, { id: randomUUID(), name, config, credentialId: null }, {});
  const controller = new AbortController();
  const late = new SourceError('timeout', `no answer within ${TEST_LIMIT_MS / 1000} s`);
  const timer = setTimeout(() => controller.abort(late), TEST_LIMIT_MS);
  try {
    return await within(controller.signal, testSource(definition, controller.signal));
  } catch (error) {
    if (error !== late) throw error;
    return { ok: false, error: late.message, durationMs: TEST_LIMIT_MS };
  } finally {
    clearTimeout(timer);
  }
}

const testSchema = z
  .object({
    ok: z.boolean(),
    error: z.string().optional(),
    server: z.string().optional(),
    notes: z.array(z.string()).optional(),
    durationMs: z.number(),
  })
  .openapi('SourceTest');
