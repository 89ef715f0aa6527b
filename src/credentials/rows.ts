/** Rows that have secrets (connections, sources): stored without them, the secrets sealed beside them, and put back. */
import { REDACTED, type SecretReference } from '../config/document.ts';
import { type Problem, pathText } from '../config/problems.ts';
import { joinSecrets, pointerSteps, secretReference, secretValue, splitSecrets } from '../config/secrets.ts';
import type { Queryable } from '../storage/database.ts';
import { type ConfigOf, findRow, putRow, type Row } from '../storage/named-rows.ts';
import type { Owner } from '../storage/schema.ts';
import { readOwnSecrets, type SecretTable, type SecretValues, writeOwnSecrets } from './store.ts';
import type { Vault } from './vault.ts';

/** Secrets that were to be kept and are not there, or cannot work. Paths are relative to the row. */
export class SecretProblems extends Error {
  override readonly name = 'SecretProblems';
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super('A secret is missing or cannot work.');
    this.problems = problems;
  }
}

/** What is to be stored, with its references resolved. */
export interface WantedRow<T extends SecretTable> {
  readonly tenant: string;
  readonly name: string;
  readonly config: ConfigOf<T>;
  readonly owner: Owner;
}

/**
 * Stores the configuration without secrets, the secrets sealed beside it. A secret that reads `[REDACTED]` stays what it
 * was; throws `SecretProblems` where nothing was. `check`: what else can be wrong with the secrets, now that all are known.
 */
export async function saveWithSecrets<T extends SecretTable>(
  db: Queryable,
  vault: Vault,
  table: T,
  wanted: WantedRow<T>,
  check: (config: ConfigOf<T>, secrets: SecretValues) => readonly Problem[] = () => [],
): Promise<{ readonly row: Row<T>; readonly outcome: 'created' | 'updated' | 'unchanged' }> {
  const { tenant, name } = wanted;
  const before = await findRow(db, table, tenant, name);
  const { config, values, refs, problems } = await settleSecrets(db, vault, table, before?.id, wanted.config);
  const all = [...problems, ...check(config, values)];
  if (all.length > 0) throw new SecretProblems(all);
  if (before === undefined) {
    const created = await putRow(db, table, { ...wanted, config });
    await writeOwnSecrets(db, vault, { table, id: created.row.id, tenant }, { values, refs });
    return created;
  }
  const touch = await writeOwnSecrets(db, vault, { table, id: before.id, tenant }, { values, refs });
  return putRow(db, table, { ...wanted, config, touch });
}

/** A draft with every secret as plain text: those that read `[REDACTED]` are the stored ones of the row of that name. */
export async function revealDraft<T extends SecretTable>(
  db: Queryable,
  vault: Vault,
  table: T,
  draft: { readonly tenant: string; readonly name: string | undefined; readonly config: ConfigOf<T> },
): Promise<ConfigOf<T>> {
  const stored = draft.name === undefined ? undefined : await findRow(db, table, draft.tenant, draft.name);
  const { config, values, problems } = await settleSecrets(db, vault, table, stored?.id, draft.config);
  if (problems.length > 0) throw new SecretProblems(problems);
  return joinSecrets<ConfigOf<T>>(config, values);
}

/** Takes the secrets out of a configuration; those to be kept come from the row `id`. */
async function settleSecrets<T extends SecretTable>(
  db: Queryable,
  vault: Vault,
  table: T,
  id: string | undefined,
  whole: ConfigOf<T>,
) {
  const { config, secrets } = splitSecrets<ConfigOf<T>>(whole);
  const values: Record<string, string> = {};
  const refs: Record<string, SecretReference> = {};
  const problems: Problem[] = [];
  // Opened only if something of it is to be kept: a secret under a lost key can be replaced.
  const keeps = Object.values(secrets).some((secret) => secretValue(secret) === undefined);
  const kept = id !== undefined && keeps ? await readOwnSecrets(db, vault, { table, id }) : undefined;
  for (const [pointer, secret] of Object.entries(secrets)) {
    const value = secretValue(secret) ?? kept?.values[pointer];
    const ref = secret === REDACTED ? kept?.refs[pointer] : secretReference(secret);
    if (value === undefined) problems.push({ path: pathText(pointerSteps(pointer)), message: NOTHING_TO_KEEP });
    else values[pointer] = value;
    if (ref !== undefined) refs[pointer] = ref;
  }
  return { config, values, refs, problems };
}

const NOTHING_TO_KEEP = `is ${REDACTED}, which keeps the stored secret, and none is stored: write the secret itself`;

/** The configuration with its secrets in place again, each with its reference: for comparing and for trying it out. */
export async function revealRow<T extends SecretTable>(
  db: Queryable,
  vault: Vault,
  table: T,
  row: Row<T>,
): Promise<ConfigOf<T>> {
  const stored = await readOwnSecrets(db, vault, { table, id: row.id });
  if (stored === undefined) return row.config;
  const { values, refs } = stored;
  const secrets = Object.entries(values).map(([pointer, value]) => {
    const ref = refs[pointer];
    return [pointer, ref === undefined ? value : { value, ref }];
  });
  return joinSecrets<ConfigOf<T>>(row.config, Object.fromEntries(secrets));
}
