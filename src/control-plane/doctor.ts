import { readStatuses } from '../connections/store.ts';
import { unopenableCredentials } from '../credentials/store.ts';
import { readTrips } from '../enrichment/store.ts';
import { schemaState } from '../storage/migrate.ts';
import { listRows } from '../storage/named-rows.ts';
import type { AdminContext } from './context.ts';
import { sourceStates } from './source-health.ts';
import { activeRevisionId, clockSkewMs, liveReplicas, newestRevisionId } from './store.ts';

/** One thing that must hold for the gateway to serve; what to do about it where it does not. */
export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly remedy?: string;
}

/** Postgres and ours may differ by this much before leases, expiries and the audit's order suffer. */
const MAX_SKEW_MS = 5_000;

type Check = (context: AdminContext) => Promise<Finding | readonly Finding[]>;

/** Runs every check; one that fails by itself is a finding, never the end of the others. */
export async function examine(context: AdminContext): Promise<{ ok: boolean; checks: Finding[] }> {
  const found = await Promise.all(
    Object.entries(CHECKS).map(async ([name, check]): Promise<readonly Finding[]> => {
      try {
        return [await check(context)].flat();
      } catch (error) {
        const remedy = 'Check that Postgres runs and that DATABASE_URL is right.';
        return [{ name, ok: false, detail: `could not be checked: ${(error as Error).message}`, remedy }];
      }
    }),
  );
  const checks = found.flat();
  return { ok: checks.every(({ ok }) => ok), checks };
}

const CHECKS: Readonly<Record<string, Check>> = {
  database: checkDatabase,
  schema: checkSchema,
  clock: checkClock,
  'secret key': checkSecretKey,
  'configuration files': checkConfigFiles,
  revision: checkRevisions,
  envoy: checkEnvoy,
  processors: checkProcessors,
  relays: checkRelays,
  connections: checkConnections,
  rules: checkRules,
  sources: checkSources,
};

const good = (name: string, detail: string): Finding => ({ name, ok: true, detail });
const bad = (name: string, detail: string, remedy: string): Finding => ({ name, ok: false, detail, remedy });

async function checkDatabase({ database }: AdminContext): Promise<Finding> {
  const { rows } = await database.pool.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  );
  return good('database', `Postgres ${rows[0]?.version} answers`);
}

async function checkSchema({ database }: AdminContext): Promise<Finding> {
  const { known, applied } = await schemaState(database);
  if (known.at(-1) === applied.at(-1)) return good('schema', `at ${applied.at(-1)}`);
  return bad(
    'schema',
    `at ${applied.at(-1)}, this version needs ${known.at(-1)}`,
    'Restart the control plane: it migrates at start.',
  );
}

async function checkClock({ database }: AdminContext): Promise<Finding> {
  const skew = Math.round(await clockSkewMs(database.kysely));
  if (Math.abs(skew) <= MAX_SKEW_MS) return good('clock', `within ${Math.max(1, Math.abs(skew))} ms of Postgres`);
  return bad(
    'clock',
    `${skew} ms away from Postgres' clock`,
    'Synchronise both machines with NTP: keys and sessions expire by the clock.',
  );
}

async function checkSecretKey({ database, vault }: AdminContext): Promise<Finding> {
  const lost = await unopenableCredentials(database.kysely, vault);
  const [first] = lost;
  if (first === undefined) return good('secret key', `key ${vault.keyId} opens every stored secret`);
  const names = lost.map(({ table, name }) => (table === 'sources' ? `source ${name}` : name)).join(', ');
  return bad(
    'secret key',
    `the secrets of ${names} do not open: ${first.reason}`,
    'Add the old key to SALLYPORT_SECRET_KEY (new,old), or write those secrets again.',
  );
}

async function checkConfigFiles({ gateway }: AdminContext): Promise<Finding> {
  const fault = gateway.configFileFault();
  if (fault === undefined) return good('configuration files', 'applied as they are');
  return bad('configuration files', `not applied: ${fault}`, 'Correct the file; it is read again when it changes.');
}

async function checkRevisions({ database, gateway }: AdminContext): Promise<Finding> {
  const [newest, active] = [await newestRevisionId(database.kysely), await activeRevisionId(database.kysely)];
  const fault = gateway.publicationFault();
  if (fault !== undefined)
    return bad(
      'revision',
      `revision ${newest} is not published: ${fault}`,
      'Correct what it names; publishing is tried again every second.',
    );
  if (newest === active) return good('revision', `${newest} is stored and active`);
  return bad(
    'revision',
    `${newest} is stored, ${active ?? 'none'} is active`,
    'If this lasts longer than a few seconds, see the log of the control plane.',
  );
}

async function checkEnvoy({ gateway }: AdminContext): Promise<readonly Finding[]> {
  const { nodes, rejections } = gateway.ads();
  const remedy = 'See the log of Envoy. The last accepted configuration keeps serving.';
  const refused = rejections.map(({ node, kind, resource, error }) =>
    bad('envoy', `${node} refused ${kind} ${resource}: ${error}`, remedy),
  );
  const states = nodes.map(({ id, envoyVersion, settled }) =>
    settled || refused.length > 0
      ? good('envoy', `${id} (${envoyVersion}) is connected`)
      : bad('envoy', `${id} (${envoyVersion}) has not acknowledged the newest revision`, remedy),
  );
  if (states.length > 0) return [...states, ...refused];
  return [
    bad(
      'envoy',
      'no Envoy is connected',
      'Start Envoy with the bootstrap that points at the xDS socket of this control plane.',
    ),
  ];
}

function checkProcessors({ database }: AdminContext): Promise<Finding> {
  const remedy = 'Start one with: sallyport processor. Without any, every MCP request is refused.';
  return checkReplicas(database, { name: 'processors', role: 'processor' }, remedy);
}

async function checkRelays({ database, gateway }: AdminContext): Promise<Finding> {
  const remedy = 'Start one with: sallyport relay. Without any, event streams and calls between the eras are refused.';
  const found = await checkReplicas(database, { name: 'relays', role: 'relay' }, remedy);
  // Only our own Envoy has a route to one.
  const isNeeded = gateway.ads().nodes.length > 0;
  return found.ok || isNeeded ? found : good('relays', 'none, and no Envoy of ours that would need one');
}

async function checkReplicas(
  database: AdminContext['database'],
  { name, role }: { readonly name: string; readonly role: string },
  remedy: string,
): Promise<Finding> {
  const active = await activeRevisionId(database.kysely);
  const replicas = (await liveReplicas(database.kysely)).filter((replica) => replica.role === role);
  if (replicas.length === 0) return bad(name, 'none has reported within ten seconds', remedy);
  const behind = replicas.filter(({ revision }) => active !== undefined && revision < active);
  if (behind.length === 0) return good(name, `${replicas.length} serve revision ${active}`);
  const who = behind.map(({ id, revision }) => `${id} (at ${revision})`).join(', ');
  return bad(name, `behind revision ${active}: ${who}`, 'See their log: the database may be out of their reach.');
}

async function checkConnections({ database, tenant }: AdminContext): Promise<readonly Finding[]> {
  const rows = await listRows(database.kysely, 'connections', tenant);
  const statuses = new Map(
    (await readStatuses(database.kysely, tenant)).map((status) => [status.connection_id, status]),
  );
  return rows.map(({ id, name, config }): Finding => {
    const status = statuses.get(id);
    const label = `connection ${name}`;
    if (!config.enabled) return good(label, 'is disabled');
    if (status?.state === 'ready') return good(label, `offers ${status.counts.tools} tools`);
    const why = status?.last_error ?? 'it has not been reached yet';
    return bad(
      label,
      `${status?.state ?? 'pending'}: ${why}`,
      `Check that ${config.url} is up and reachable from here; sallyport connection test ${name}`,
    );
  });
}

async function checkSources({ gateway, tenant }: AdminContext): Promise<readonly Finding[]> {
  const states = await sourceStates(gateway.runtimeDir, tenant);
  return [...states].map(([name, state]) =>
    state === 'ok' || state === 'unused'
      ? good(`source ${name}`, state === 'ok' ? 'answers rules' : 'no rule has asked it yet')
      : bad(
          `source ${name}`,
          state === 'open' ? 'failed repeatedly and is left alone for a while' : 'failed the last time it was asked',
          `sallyport source test ${name} says what is wrong.`,
        ),
  );
}

/** Rules that switched themselves off; nothing is said of those that run. */
async function checkRules({ database, tenant }: AdminContext): Promise<readonly Finding[]> {
  const rows = await listRows(database.kysely, 'rules', tenant);
  const trips = await readTrips(database.kysely, tenant);
  return rows.flatMap(({ id, name, config }) => {
    const trip = trips.get(id);
    if (trip === undefined || !config.enabled) return [];
    const remedy = `Correct what it says, then: sallyport rule enable ${name}`;
    return [bad(`rule ${name}`, `is off since ${trip.at.toISOString()}, it failed too often: ${trip.reason}`, remedy)];
  });
}
