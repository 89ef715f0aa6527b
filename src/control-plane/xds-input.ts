import { readFileSync } from 'node:fs';
import type { ListenerConfig } from '../config/document.ts';
import type { Problem } from '../config/problems.ts';
import { readSecrets } from '../credentials/store.ts';
import type { Vault } from '../credentials/vault.ts';
import { certificateFault, checkRevision, keyFault, ownCertificateFault } from '../snapshot/check.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';
import type { Queryable } from '../storage/database.ts';
import {
  type ConnectionTls,
  compileXds,
  type ListenerTls,
  type XdsContext,
  type XdsResources,
} from '../xds/compile.ts';

/** What does not change while a control plane runs: where its Envoy listens and whom it trusts. */
export type XdsPlace = Pick<XdsContext, 'mcpHost' | 'mcpPort' | 'sockets' | 'publicRootsPem'>;

/** Compiles a revision for Envoy, with certificates read from their files and keys from the vault. */
export async function compileForEnvoy(
  db: Queryable,
  vault: Vault,
  place: XdsPlace,
  document: RevisionDocument,
): Promise<XdsResources> {
  const withKey = connectionsOf(document).filter(({ config }) => config.tls?.cert !== undefined);
  const ids = withKey.flatMap(({ credentialId }) => (credentialId === null ? [] : [credentialId]));
  const secrets = await readSecrets(db, vault, ids);
  const keyOf = (credentialId: string | null) =>
    credentialId === null ? undefined : secrets.get(credentialId)?.['/tls/key'];
  return compileXds(document, {
    ...place,
    listenerTls: readListenerTls(document.settings.listener),
    connectionTls: connectionTls(document, keyOf),
  });
}

/**
 * Everything that can be known to be wrong with a revision before it is stored: what the whole makes of its parts,
 * certificate files of the listener, and whether Envoy's own rules accept every resource. Reads no secret.
 */
export function checkForEnvoy(place: XdsPlace): (document: RevisionDocument) => readonly Problem[] {
  return (document) => {
    const problems: Problem[] = [...checkRevision(document)];
    try {
      const listenerTls = readListenerTls(document.settings.listener);
      if (problems.length > 0) return problems;
      // Any text encodes like a key: the real one was checked against its certificate when it was stored.
      compileXds(document, { ...place, listenerTls, connectionTls: connectionTls(document, () => '(key)') });
    } catch (error) {
      problems.push(asProblem(error));
    }
    return problems;
  };
}

/** A certificate file of the listener that cannot be used. */
class ListenerTlsError extends Error {
  override readonly name = 'ListenerTlsError';
  readonly path: string;
  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** Reads what `listener.tls` names. Throws `ListenerTlsError` unless certificate and key can work together. */
function readListenerTls({ tls }: ListenerConfig): ListenerTls | undefined {
  if (tls === undefined) return undefined;
  const read = (key: 'cert' | 'key' | 'clientCa', file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw new ListenerTlsError(`listener.tls.${key}`, `${file} cannot be read (${reason})`);
    }
  };
  const refuse = (key: 'cert' | 'key' | 'clientCa', file: string, fault: string | undefined): void => {
    if (fault !== undefined) throw new ListenerTlsError(`listener.tls.${key}`, `${file} ${fault}`);
  };
  const certPem = read('cert', tls.cert);
  refuse('cert', tls.cert, ownCertificateFault(certPem));
  const keyPem = read('key', tls.key);
  refuse('key', tls.key, keyFault(keyPem, certPem));
  if (tls.clientCa === undefined) return { certPem, keyPem };
  const clientCaPem = read('clientCa', tls.clientCa);
  refuse('clientCa', tls.clientCa, certificateFault(clientCaPem));
  return { certPem, keyPem, clientCaPem };
}

/** The files that a document's listener is made from. */
export function listenerFiles({ tls }: ListenerConfig): string[] {
  return tls === undefined ? [] : [tls.cert, tls.key, ...(tls.clientCa === undefined ? [] : [tls.clientCa])];
}

const connectionsOf = (document: RevisionDocument) => document.tenants.flatMap(({ connections }) => connections);

function connectionTls(
  document: RevisionDocument,
  keyOf: (credentialId: string | null) => string | undefined,
): Map<string, ConnectionTls> {
  return new Map(
    connectionsOf(document).flatMap(({ id, config: { tls }, credentialId }): [string, ConnectionTls][] => {
      if (tls === undefined) return [];
      const keyPem = tls.cert === undefined ? undefined : keyOf(credentialId);
      return [[id, { caPem: tls.ca, certPem: tls.cert, keyPem }]];
    }),
  );
}

/** WireError and ListenerTlsError both say where; the first says it in its message too. */
function asProblem(error: unknown): Problem {
  const { path, message } = error as { path?: unknown; message: string };
  if (typeof path !== 'string') throw error;
  return { path, message: message.startsWith(`${path} `) ? message.slice(path.length + 1) : message };
}
