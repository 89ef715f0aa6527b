/**
 * What only the whole can tell: names that refer to nothing or clash, certificates that cannot work. Run before a
 * revision is stored, so that what is stored can be served.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { SecretInput, SourceType, UpstreamTlsConfig } from '../config/document.ts';
import { REDACTED } from '../config/document.ts';
import { connectionNameFault, namespaceNameFault, plainNameFault } from '../config/names.ts';
import { pathText } from '../config/problems.ts';
import { checkRule } from '../enrichment/compile.ts';
import type { ConnectionRevision, RevisionDocument, RuleRevision, SourceRevision, TenantRevision } from './revision.ts';

export interface RevisionProblem {
  /** `connections.crm.tls.ca`; with the tenant in front where it is not `default`. */
  readonly path: string;
  readonly message: string;
}

/** More than this is a mistake, and would make Envoy's start slow: each connection is a cluster of its own. */
const MAXIMUM_CONNECTIONS = 2000;

/** Every reason why this revision must not be stored; none when it may be. */
export function checkRevision(document: RevisionDocument): RevisionProblem[] {
  const tenants = duplicates(document.tenants.map(({ id }) => id));
  return [
    ...tenants.map((id) => ({ path: pathText(['tenants', id]), message: 'is there twice' })),
    ...document.tenants.flatMap(checkTenant),
  ];
}

function checkTenant(tenant: TenantRevision): RevisionProblem[] {
  const { connections, namespaces, personas, sources = [], rules = [] } = tenant;
  const problems = [
    ...checkNames('connections', connections, connectionNameFault),
    ...checkNames('namespaces', namespaces, namespaceNameFault),
    ...checkNames('personas', personas, plainNameFault),
    ...namespaces.flatMap((namespace) => checkReferences(namespace, connections)),
    ...personas
      .filter(({ roles, subjects }) => roles.length === 0 && subjects.length === 0)
      .map(({ name }) => ({
        path: pathText(['personas', name]),
        message: 'needs "roles" or "subjects": nobody could ever have it',
      })),
    ...connections.flatMap(checkTls),
    ...checkNames('sources', sources, plainNameFault),
    ...sources.flatMap(checkTrust),
    ...checkNames('rules', rules, plainNameFault),
    ...checkRules(rules, sources),
  ];
  if (connections.length > MAXIMUM_CONNECTIONS) {
    const message = `${connections.length} connections are too many: at most ${MAXIMUM_CONNECTIONS}`;
    problems.push({ path: 'connections', message });
  }
  if (tenant.id === 'default') return problems;
  return problems.map(({ path, message }) => ({ path: `${pathText(['tenants', tenant.id])}.${path}`, message }));
}

function checkNames(
  section: string,
  rows: readonly { readonly name: string }[],
  fault: (name: string) => string | undefined,
): RevisionProblem[] {
  const names = rows.map(({ name }) => name);
  return [
    ...duplicates(names).map((name) => ({ path: pathText([section, name]), message: 'is there twice' })),
    ...names.flatMap((name) => {
      const problem = fault(name);
      return problem ? [{ path: pathText([section, name]), message: `${JSON.stringify(name)} ${problem}` }] : [];
    }),
  ];
}

/** A pattern may match nothing yet; a plain name that names nothing is a typo. */
function checkReferences(
  namespace: TenantRevision['namespaces'][number],
  connections: readonly ConnectionRevision[],
): RevisionProblem[] {
  const names = new Set(connections.map(({ name }) => name));
  return namespace.connections.flatMap((reference, i) => {
    if (/[*?]/.test(reference) || names.has(reference)) return [];
    const path = pathText(['namespaces', namespace.name, 'connections', i]);
    return [{ path, message: `there is no connection named "${reference}"` }];
  });
}

function checkTls({ name, config }: ConnectionRevision): RevisionProblem[] {
  const { tls } = config;
  if (!tls) return [];
  const path = pathText(['connections', name, 'tls']);
  const problems: RevisionProblem[] = [];
  if (config.url.startsWith('http:')) {
    problems.push({ path, message: 'has no effect on an http:// URL: use https:// or remove "tls"' });
  }
  const fault = tls.ca === undefined ? undefined : certificateFault(tls.ca);
  if (fault) problems.push({ path: `${path}.ca`, message: fault });
  problems.push(...checkClientCertificate(tls, path));
  return problems;
}

function checkTrust({ name, config }: SourceRevision): RevisionProblem[] {
  const ca = 'tls' in config ? config.tls?.ca : undefined;
  const fault = ca === undefined ? undefined : certificateFault(ca);
  return fault ? [{ path: pathText(['sources', name, 'tls', 'ca']), message: fault }] : [];
}

/** Paths of faults are those of the rule: `rules.owner-context.source.query`. */
function checkRules(rules: readonly RuleRevision[], sources: readonly SourceRevision[]): RevisionProblem[] {
  const types = new Map<string, SourceType>(sources.map(({ name, config }) => [name, config.type]));
  return rules.flatMap(({ name, config }) =>
    checkRule(config, types).map(({ path, message }) => ({ path: `${pathText(['rules', name])}.${path}`, message })),
  );
}

function checkClientCertificate({ cert, key }: UpstreamTlsConfig, path: string): RevisionProblem[] {
  if (cert === undefined) return [];
  const fault = ownCertificateFault(cert);
  if (fault) return [{ path: `${path}.cert`, message: fault }];
  const text = keyText(key);
  if (text === undefined) return [];
  const wrong = keyFault(text, cert);
  return wrong ? [{ path: `${path}.key`, message: wrong }] : [];
}

/** Stored revisions hold no secrets; keys are checked where the value is at hand. */
function keyText(key: SecretInput | undefined): string | undefined {
  if (key === undefined || key === REDACTED) return undefined;
  if (typeof key === 'string') return key;
  return 'value' in key ? key.value : undefined;
}

/** What is wrong with PEM text that should hold one or more certificates. */
export function certificateFault(pem: string): string | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g);
  if (!blocks) return 'holds no PEM certificate (-----BEGIN CERTIFICATE-----…)';
  for (const [i, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch {
      return `certificate ${i + 1} of ${blocks.length} cannot be read: it is damaged or not a certificate`;
    }
  }
  return undefined;
}

/** What is wrong with PEM text that should hold a certificate to present, with its chain after it. */
export function ownCertificateFault(pem: string): string | undefined {
  return certificateFault(pem) ?? keyKindFault(new X509Certificate(pem).publicKey);
}

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

/** Envoy presents certificates of these kinds of keys and refuses all others. */
function keyKindFault({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string | undefined {
  const wanted = `use RSA of at least 2048 bits, EC on ${Object.values(CURVES).join(', ')}, or Ed25519`;
  if (type === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    return bits < 2048 ? `has an RSA key of ${bits} bits, which Envoy refuses: ${wanted}` : undefined;
  }
  if (type === 'ed25519') return undefined;
  if (type !== 'ec') return `has a key of type ${type}, which Envoy cannot use: ${wanted}`;
  const curve = details?.namedCurve ?? 'an unknown curve';
  return curve in CURVES ? undefined : `has an EC key on ${curve}, which Envoy refuses: ${wanted}`;
}

/** What is wrong with a PEM private key that should belong to a certificate (the first of a chain). */
export function keyFault(pem: string, certificate: string): string | undefined {
  try {
    const key = createPrivateKey(pem);
    return new X509Certificate(certificate).checkPrivateKey(key)
      ? undefined
      : 'does not belong to the certificate in "cert"';
  } catch {
    return pem.includes('ENCRYPTED') ? 'is encrypted: store it without a passphrase' : 'is not a PEM private key';
  }
}

function duplicates(values: readonly string[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const value of values) (seen.has(value) ? twice : seen).add(value);
  return [...twice];
}
