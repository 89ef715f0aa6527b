import type { ConfigDocument } from '../config/document.ts';
import { pathText } from '../config/problems.ts';
import { saveConnection } from '../connections/store.ts';
import { SecretProblems, saveWithSecrets } from '../credentials/rows.ts';
import { saveRule } from '../enrichment/store.ts';
import { type ConfigOf, listRows, type NamedTable, putRow, removeRow } from '../storage/named-rows.ts';
import type { Owner } from '../storage/schema.ts';
import type { Applier, ApplyContext } from './apply-context.ts';
import { applyKeys } from './apply-keys.ts';
import { invalid, ownedByFile } from './refusal.ts';
import { readSettings, removeSettings, writeSettings } from './store.ts';

/** Applies a document whose references are resolved. Runs inside a change; what it throws undoes all of it. */
export async function applyDocument(context: ApplyContext, document: ConfigDocument): Promise<void> {
  await applySettings(context, document);
  await applySection(context, 'connections', document.connections, (name, config, owner) =>
    withPaths(['connections', name], () =>
      saveConnection(context.db, context.vault, { ...target(context, name), config, owner }),
    ),
  );
  await applySection(context, 'namespaces', document.namespaces, (name, config, owner) =>
    putRow(context.db, 'namespaces', { ...target(context, name), config, owner }),
  );
  await applySection(context, 'personas', document.personas, (name, config, owner) =>
    putRow(context.db, 'personas', { ...target(context, name), config, owner }),
  );
  await applySection(context, 'sources', document.sources, (name, config, owner) =>
    withPaths(['sources', name], () =>
      saveWithSecrets(context.db, context.vault, 'sources', { ...target(context, name), config, owner }),
    ),
  );
  await applySection(context, 'rules', document.rules, (name, config, owner) =>
    saveRule(context.db, { ...target(context, name), config, owner }),
  );
  await applyKeys(context, document.apiKeys);
}

const target = ({ tenant }: ApplyContext, name: string) => ({ tenant, name });

async function applySection<T extends NamedTable>(
  context: ApplyContext,
  table: T,
  section: Readonly<Record<string, ConfigOf<T>>> | undefined,
  save: (name: string, config: ConfigOf<T>, owner: Owner) => Promise<unknown>,
): Promise<void> {
  const rows = new Map((await listRows(context.db, table, context.tenant)).map((row) => [row.name, row]));
  for (const [name, config] of Object.entries(section ?? {})) {
    const before = rows.get(name);
    rows.delete(name);
    if (context.as === 'api' && before?.owner === 'file')
      await refuseToChange(table, before, () => save(name, config, 'file'));
    else await save(name, config, context.as === 'file' ? 'file' : keptOwner(before));
  }
  for (const row of rows.values())
    if (isGone(context.as, row.owner, section !== undefined)) await removeRow(context.db, table, row.id);
}

/** A document that repeats what the file says is welcome: `export` writes such documents. */
async function refuseToChange(
  table: NamedTable,
  before: { name: string },
  save: () => Promise<unknown>,
): Promise<void> {
  const result = (await save()) as { outcome: string };
  if (result.outcome !== 'unchanged') throw ownedByFile(table.slice(0, -1), before.name);
}

/** What came with the product stays its own while nobody changes it; see `putRow`, which compares the owner too. */
function keptOwner(before: { readonly owner: Owner } | undefined): Owner {
  return before?.owner === 'demo' ? 'demo' : 'api';
}

/** Whether a row that the document does not name goes: the file's own always, others where their section is written. */
function isGone(as: Applier, owner: Owner, written: boolean): boolean {
  if (as === 'file') return owner === 'file' || (owner === 'demo' && written);
  return owner !== 'file' && written;
}

async function applySettings({ db, as }: ApplyContext, { settings }: ConfigDocument): Promise<void> {
  const before = await readSettings(db);
  if (settings !== undefined) {
    if (as === 'api' && before?.owner === 'file') {
      if (await writeSettings(db, settings, 'file')) throw ownedByFile('section', 'settings');
    } else await writeSettings(db, settings, as);
  } else if (as === 'file' && before?.owner === 'file') await removeSettings(db);
}

async function withPaths<T>(steps: readonly string[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SecretProblems)) throw error;
    throw invalid(error.problems.map(({ path, message }) => ({ path: `${pathText(steps)}.${path}`, message })));
  }
}
