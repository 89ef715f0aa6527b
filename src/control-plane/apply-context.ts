import type { Vault } from '../credentials/vault.ts';
import type { Queryable } from '../storage/database.ts';

/**
 * As whom a document is applied. `file`: the file the process was started with; its rows are its own (409 to the
 * API), it takes over rows of the same name, and what it no longer says is removed. `api`: each section that is
 * written becomes what the document says, except for what a file owns.
 */
export type Applier = 'file' | 'api';

export interface ApplyContext {
  readonly db: Queryable;
  readonly vault: Vault;
  readonly tenant: string;
  readonly as: Applier;
}
