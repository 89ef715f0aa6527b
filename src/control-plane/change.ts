import type { Problem } from '../config/problems.ts';
import { recordVersions } from '../enrichment/store.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';
import type { Database, Queryable } from '../storage/database.ts';
import { Refusal } from './refusal.ts';
import { buildRevision, isNewest, lockConfiguration, storeRevision } from './store.ts';

/** Who changes the configuration, and what for; kept with the revision. */
export interface Change {
  readonly author: string;
  readonly reason: string;
}

/** The only way to change what the gateway serves. */
export interface ConfigurationWriter {
  /**
   * Runs `work` in one transaction under the configuration lock, then builds and checks the revision that the rows
   * amount to. A bad one is refused with its problems and nothing is kept; one that says what the last one said is
   * not stored. Whatever `work` throws undoes the change. Where Postgres undoes it, because something else held what
   * it needs, `work` runs again.
   */
  change<T>(change: Change, work: (trx: Queryable) => Promise<T>): Promise<{ value: T; revision: number | undefined }>;
  /** Does everything `change` does, reports what `work` gave, and keeps nothing. */
  rehearse<T>(work: (trx: Queryable) => Promise<T>): Promise<T>;
}

/** `check` compiles a document as the data plane and Envoy will, and says what is wrong with it. */
export function createWriter(
  database: Database,
  check: (document: RevisionDocument) => readonly Problem[],
): ConfigurationWriter {
  /** The revision that the rows amount to, if it is a new one; throws if it cannot be served. */
  const newRevision = async (trx: Queryable): Promise<RevisionDocument | undefined> => {
    const document = await buildRevision(trx);
    // What is stored already was checked then; a certificate that has gone since must not keep a start from starting.
    if (await isNewest(trx, document)) return undefined;
    const problems = check(document);
    if (problems.length === 0) return document;
    throw new Refusal(
      422,
      'Refused configuration',
      `The change would make a configuration that cannot be served, so nothing was changed: ${problems[0]?.path}: ${problems[0]?.message}`,
      problems,
    );
  };

  return {
    change: (change, work) =>
      inTransaction(database, async (trx) => {
        const value = await work(trx);
        await recordVersions(trx, change);
        const document = await newRevision(trx);
        return { value, revision: document && (await storeRevision(trx, document, change)) };
      }),
    async rehearse(work) {
      const rehearsal = new Rehearsal();
      try {
        return await inTransaction(database, async (trx) => {
          rehearsal.value = await work(trx);
          await newRevision(trx);
          throw rehearsal;
        });
      } catch (error) {
        if (error === rehearsal) return rehearsal.value as Awaited<ReturnType<typeof work>>;
        throw error;
      }
    },
  };
}

/** How often a change is tried that meets a deadlock (40P01) or a serialization failure (40001). */
const ATTEMPTS = 5;

async function inTransaction<T>({ kysely }: Database, work: (trx: Queryable) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await kysely.transaction().execute(async (trx) => {
        await lockConfiguration(trx);
        return work(trx);
      });
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (attempt === ATTEMPTS || (code !== '40P01' && code !== '40001')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20 * attempt));
    }
  }
}

/** Thrown to undo a change that was only tried. */
class Rehearsal {
  value: unknown;
}
