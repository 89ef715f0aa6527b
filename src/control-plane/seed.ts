import type { ConfigDocument } from '../config/document.ts';
import { connectionSchema, namespaceSchema, personaSchema } from '../config/schema.ts';
import { saveConnection } from '../connections/store.ts';
import { resealCredentials } from '../credentials/store.ts';
import type { Vault } from '../credentials/vault.ts';
import { generateKey } from '../identity/key-ring.ts';
import { hasKeys, insertKey } from '../identity/store.ts';
import type { Database, Queryable } from '../storage/database.ts';
import { findRow, listRows, putRow, removeRow } from '../storage/named-rows.ts';
import { applyDocument } from './apply.ts';
import type { ConfigurationWriter } from './change.ts';
import { lockConfiguration, newestRevisionId, releaseFileRows } from './store.ts';

export interface SeedOptions {
  readonly vault: Vault;
  readonly tenant: string;
  /** What the configuration files say; undefined when the process was started without any. */
  readonly document: ConfigDocument | undefined;
  /** Where the bundled demo server listens, when it runs. */
  readonly demoUrl: string | undefined;
}

/**
 * What a start puts into the database, as one change: the `default` namespace, the persona `admin` and the demo connection the first time,
 * the configuration files every time. Secrets sealed under an older key are sealed again. Also stores the first
 * revision there is, so that an empty gateway has one to serve.
 */
export async function seedConfiguration(writer: ConfigurationWriter, options: SeedOptions): Promise<void> {
  const reason = options.document === undefined ? 'start' : 'start with configuration files';
  await writer.change({ author: 'control plane', reason }, async (trx) => {
    const first = (await newestRevisionId(trx)) === undefined;
    if (first) {
      await addDefaultNamespace(trx, options.tenant);
      await addAdminPersona(trx, options.tenant);
    }
    if (options.document === undefined) await releaseFileRows(trx);
    else await applyFiles(trx, options, options.document);
    await seedDemo(trx, options, first);
    await resealCredentials(trx, options.vault);
  });
}

/** Applies the configuration files again, after they changed. */
export async function reapplyFiles(writer: ConfigurationWriter, options: SeedOptions, document: ConfigDocument) {
  const change = { author: 'configuration file', reason: 'the configuration files changed' };
  return writer.change(change, (trx) => applyFiles(trx, options, document));
}

async function applyFiles(db: Queryable, { vault, tenant }: SeedOptions, document: ConfigDocument): Promise<void> {
  const hadPersonas = (await listRows(db, 'personas', tenant)).length > 0;
  await applyDocument({ db, vault, tenant, as: 'file' }, document);
  // The file's personas went with their section: without any, the role admin holds again. Written empty, nobody may.
  const areGone = hadPersonas && (await listRows(db, 'personas', tenant, { limit: 1 })).length === 0;
  if (areGone && document.personas === undefined) await addAdminPersona(db, tenant);
}

/** Whatever is added shows up at /mcp. Of owner `demo`: came with the product, gives way to a file that names namespaces. */
async function addDefaultNamespace(db: Queryable, tenant: string): Promise<void> {
  const config = namespaceSchema.parse({ connections: ['*'] });
  await putRow(db, 'namespaces', { tenant, name: 'default', config, owner: 'demo' });
}

/** What the first key's role may do. Of owner `demo`: gives way to a file that names personas, else is the operator's. */
async function addAdminPersona(db: Queryable, tenant: string): Promise<void> {
  const config = personaSchema.parse({
    roles: ['admin'],
    tools: { allow: ['*'] },
    description: 'May do everything. Came with Sallyport.',
  });
  await putRow(db, 'personas', { tenant, name: 'admin', config, owner: 'demo' });
}

/** The demo is there for a gateway that has nothing else; removed or edited, it is the operator's. */
async function seedDemo(db: Queryable, { vault, tenant, demoUrl }: SeedOptions, first: boolean): Promise<void> {
  const row = await findRow(db, 'connections', tenant, 'demo');
  const isOurs = row?.owner === 'demo';
  if (demoUrl === undefined) {
    if (isOurs) await removeRow(db, 'connections', row.id);
    return;
  }
  const wanted = isOurs || (first && (await listRows(db, 'connections', tenant, { limit: 1 })).length === 0);
  if (!wanted) return;
  const config = connectionSchema.parse({ url: demoUrl, description: 'The demo server that comes with Sallyport.' });
  await saveConnection(db, vault, { tenant, name: 'demo', config, owner: 'demo' });
}

/** The key that is printed once; undefined unless the gateway has no keys yet and its persona `admin` is the one it came with. */
export async function makeFirstKey(database: Database, tenant: string): Promise<string | undefined> {
  return database.kysely.transaction().execute(async (trx) => {
    await lockConfiguration(trx);
    if (await hasKeys(trx)) return undefined;
    // Only where the role means something: with personas of the operator's own, keys are the operator's, too.
    const personas = await listRows(trx, 'personas', tenant);
    if (personas.length > 0 && !personas.some(({ owner }) => owner === 'demo')) return undefined;
    const key = generateKey();
    await insertKey(trx, { tenant, name: 'first', key, roles: ['admin'], expiresAt: null, owner: 'api', origin: null });
    return key;
  });
}
