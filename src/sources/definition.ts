/** A source of a revision, with its secrets in place. */
import { createHash } from 'node:crypto';
import { joinSecrets } from '../config/secrets.ts';
import type { SecretValues } from '../credentials/store.ts';
import type { SourceRevision } from '../snapshot/revision.ts';
import type { SourceDefinition } from './source.ts';

/** `secrets`: by pointer, or why there are none to use. */
export function definitionOf(tenant: string, source: SourceRevision, secrets: SecretValues | string): SourceDefinition {
  const { id, name, config } = source;
  const joined = typeof secrets === 'string' ? config : joinSecrets(config, secrets);
  return {
    id,
    tenant,
    name,
    // The credential's id changes with what it holds; the values themselves stay out of it.
    digest: createHash('sha256')
      .update(JSON.stringify([id, config, source.credentialId]))
      .digest('base64url'),
    config: joined,
    fault: typeof secrets === 'string' ? secrets : undefined,
  };
}
