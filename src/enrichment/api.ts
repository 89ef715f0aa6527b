import { z } from '@hono/zod-openapi';
import { parseRuleBody } from '../config/bodies.ts';
import { strict } from '../config/fields.ts';
import { toProblem, validate } from '../config/problems.ts';
import { inOrder } from '../config/running-order.ts';
import { type Written, writtenRule } from '../config/written.ts';
import type { AdminContext } from '../control-plane/context.ts';
import {
  type Api,
  decodeCursor,
  encodeCursor,
  endpoint,
  isNumberPlace,
  newApi,
  pageOf,
  pageQuery,
  Reply,
  rawMember,
} from '../control-plane/endpoint.ts';
import { namedResource } from '../control-plane/named-resource.ts';
import { invalid, notFound, ownedByFile, Refusal } from '../control-plane/refusal.ts';
import type { Queryable } from '../storage/database.ts';
import { findRow, listRows } from '../storage/named-rows.ts';
import { dryRun } from './dry-run.ts';
import { dryRunAnswer, dryRunBody, readDryRun } from './dry-run-body.ts';
import { findVersion, listVersions, type RuleRow, readTrips, saveRule } from './store.ts';

/** `rules`: what is added to results, in the order in which it is, and what each rule said before. */
export function rulesApi(context: AdminContext): Api {
  const { database, tenant } = context;
  const api = newApi();
  const rules = namedResource(api, context, {
    table: 'rules',
    kind: 'rule',
    parse: parseRuleBody,
    write: writtenRule,
    save: saveRule,
    order: ordered,
    extra: {
      schema: { status: { $ref: '#/components/schemas/RuleStatus' }, runs: { type: 'integer' } },
      async read(db) {
        const trips = await readTrips(db, tenant);
        const all = ordered(await listRows(db, 'rules', tenant));
        return new Map(all.map((row, i) => [row.id, { status: status(row, trips.get(row.id)), runs: i + 1 }]));
      },
    },
  });
  api.openAPIRegistry.register('RuleStatus', statusSchema);
  const own = { tag: 'rules', refusals: [404] as const };

  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/rules/dry-run',
      summary: 'Try a rule, stored or a draft, on a sample or a recorded call; nothing is stored or counted',
      body: dryRunBody,
      response: dryRunAnswer,
      refusals: [400, 404, 409],
    },
    async (request) => {
      const text = await request.text();
      const asked = readDryRun(await request.json());
      const { before, after, ...rest } = await dryRun(context, {
        ...asked,
        args: rawMember(text, 'args'),
        response: rawMember(text, 'response'),
      });
      // Results as they are written: parsing would round their numbers.
      const body = `{"before":${before},"after":${after},${JSON.stringify(rest).slice(1)}`;
      return new Reply(200, body, { 'content-type': 'application/json' });
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/rules/{name}/enable',
      summary: 'Let a rule run (again): also one that spent its error budget',
      response: rules.shown,
      refusals: [404, 409, 412],
    },
    async (request) => {
      const name = request.param('name');
      const row = await rules.change(`enable rule ${name}`, async (trx) => {
        const before = await rules.mustFind(trx, name);
        const trip = (await readTrips(trx, tenant)).get(before.id);
        // Whose file says that it is off, keeps it off; what failed may begin anew, whoever owns it.
        if (before.owner === 'file' && !before.config.enabled) throw ownedByFile('rule', name);
        if (before.owner !== 'file') rules.mayChange(request, before);
        // A trip holds for one version: the next one begins with a full budget, in every process.
        const wanted = { tenant, name, config: { ...before.config, enabled: true }, owner: before.owner };
        return (await saveRule(trx, { ...wanted, touch: trip !== undefined })).row;
      });
      return rules.show(row);
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/rules/{name}/versions',
      summary: 'What a rule said, the newest first; also of one that was removed',
      query: z.strictObject(pageQuery),
      response: pageOf(versionSchema),
    },
    async (request) => {
      const name = request.param('name');
      const { limit, cursor } = request.query;
      const before = decodeCursor(cursor, isNumberPlace);
      const found = await listVersions(database.kysely, tenant, name, { before, limit: limit + 1 });
      if (found.length === 0 && before === undefined) throw notFound('rule', name);
      const items = found.slice(0, limit).map(({ version, author, reason, at, config }) => ({
        version,
        author,
        reason,
        at: at.toISOString(),
        config: writtenRule(config),
      }));
      return { items, ...(found.length > limit && { nextCursor: encodeCursor(items.at(-1)?.version) }) };
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/rules/{name}/rollback',
      summary: 'Make a rule what a version of it says, as a new version; brings a removed one back',
      body: rollbackSchema,
      response: rules.shown,
      refusals: [400, 404, 409, 412, 422],
    },
    async (request) => {
      const parsed = validate(rollbackSchema, await request.json());
      if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
      const { version } = parsed.value;
      const name = request.param('name');
      const row = await rules.change(`roll rule ${name} back to version ${version}`, async (trx) => {
        const target = await findVersion(trx, tenant, name, version);
        if (target === undefined) throw await noSuchVersion(trx, tenant, name, version);
        const before = await findRow(trx, 'rules', tenant, name);
        if (before !== undefined) rules.mayChange(request, before);
        return (await saveRule(trx, { tenant, name, config: target.config, owner: 'api' })).row;
      });
      return rules.show(row);
    },
  );

  return api;
}

async function noSuchVersion(db: Queryable, tenant: string, name: string, version: number): Promise<Refusal> {
  const [newest] = await listVersions(db, tenant, name, { limit: 1 });
  if (newest === undefined) return notFound('rule', name);
  return new Refusal(
    404,
    'Not found',
    `The rule "${name}" has no version ${version}: its newest is ${newest.version}.`,
  );
}

const rollbackSchema = strict({ version: z.int().min(1) });

const ordered = (rows: readonly RuleRow[]): RuleRow[] => [...rows].sort(inOrder);

function status({ config }: RuleRow, trip: { readonly reason: string; readonly at: Date } | undefined): Written {
  if (!config.enabled) return { state: 'disabled' };
  return trip === undefined
    ? { state: 'on' }
    : { state: 'off', offSince: trip.at.toISOString(), offReason: trip.reason };
}

const statusSchema = z
  .object({
    /** `off`: it spent its error budget. */
    state: z.enum(['on', 'off', 'disabled']),
    offSince: z.string().optional(),
    offReason: z.string().optional(),
  })
  .openapi('RuleStatus');

const versionSchema = z
  .object({
    version: z.int(),
    author: z.string(),
    reason: z.string(),
    at: z.string(),
    config: z.looseObject({}),
  })
  .openapi('RuleVersion');
