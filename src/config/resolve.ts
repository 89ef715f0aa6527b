/**
 * Turning references into values: of secrets, and of certificates that are paths. Done by the process that reads a file,
 * and for bodies of the admin API by the control plane, within what it lets them refer to.
 */
import type { ConfigDocument, ResolvedSecret, SecretInput } from './document.ts';
import { headerValueFault, passwordFault, postgresUrlFault } from './names.ts';
import type { Problem } from './problems.ts';
import { pathText } from './problems.ts';
import { mapSecrets, pointerSteps, secretValue, type WithSecrets } from './secrets.ts';

/** What references are resolved against. Without `readFile`, references to files are refused. */
export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile?: (path: string) => string;
}

/** A reference that leads nowhere; the message never holds a secret. */
export class SecretError extends Error {
  override readonly name = 'SecretError';
}

/** The text of a secret; throws `SecretError` where there is none. */
export function resolveSecret(secret: SecretInput, sources: SecretSources): string {
  if (typeof secret === 'string') return secret;
  if ('value' in secret) return secret.value;
  if ('env' in secret) return variable(secret.env, sources);
  if ('file' in secret) return fileText(secret.file, sources);
  return expandTemplate(secret.template, (name) => variable(name, sources));
}

/** `${NAME}`, `${NAME:-default}` and VS Code's `${env:NAME}` in text; `$${` is a literal `${`. */
export const REFERENCE = /\$\$\{|\$\{(?:(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g;

/** Fills in the references of a text; throws what `lookup` throws, and `SecretError` for a malformed reference. */
export function expandTemplate(text: string, lookup: (name: string) => string): string {
  return text.replace(REFERENCE, (whole, name: string | undefined, fallback: string | undefined) => {
    if (whole === '$${') return '${';
    if (name === undefined)
      throw new SecretError(
        `has a "\${" that does not begin a reference such as \${NAME}; write "$\${" for the text itself`,
      );
    if (fallback === undefined) return lookup(name);
    try {
      return lookup(name);
    } catch {
      return fallback;
    }
  });
}

function variable(name: string, { env }: SecretSources): string {
  const value = env[name];
  if (value === undefined || value === '') {
    throw new SecretError(`environment variable ${name} is ${value === '' ? 'empty' : 'not set'}`);
  }
  return value;
}

function fileText(path: string, { readFile }: SecretSources): string {
  if (!readFile) throw new SecretError('files are read only where a configuration file is read: send the value itself');
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw new SecretError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`);
  }
  const trimmed = text.replace(/\r?\n$/, '');
  if (trimmed === '') throw new SecretError(`${path} is empty`);
  return trimmed;
}

/** Variables that a body of the admin API may refer to: not those that the gateway itself runs on. */
export function referableEnvironment(env: SecretSources['env']): SecretSources['env'] {
  const ours = /^(SALLYPORT_|DATABASE_URL$|REDIS_URL$|PG[A-Z]|OTEL_|NODE_)/;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !ours.test(name)));
}

export type Resolution<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

/** Resolves whatever a connection or a source refers to: secrets become `ResolvedSecret`s, `tls.ca` and `tls.cert` PEM text. */
export function resolveSecrets<T extends WithSecrets>(
  config: T,
  sources: SecretSources,
  steps: readonly string[] = [],
): Resolution<T> {
  const problems: Problem[] = [];
  const attempt = <V>(at: readonly string[], instead: V, resolve: () => V): V => {
    try {
      return resolve();
    } catch (error) {
      if (!(error instanceof SecretError)) throw error;
      problems.push({ path: pathText([...steps, ...at]), message: error.message });
      return instead;
    }
  };
  const value = mapSecrets(config, (secret, pointer) =>
    attempt(pointerSteps(pointer), secret, () => {
      const resolved = withValue(secret, sources);
      const text = secretValue(resolved);
      const fault = text === undefined ? undefined : faultOf(pointer, text);
      if (fault) throw new SecretError(fault);
      return resolved;
    }),
  );
  const certificates: { ca?: string; cert?: string } | undefined = 'tls' in value ? value.tls : undefined;
  const pem = (name: 'ca' | 'cert') => {
    const text = certificates?.[name];
    if (text === undefined || text.includes('-----BEGIN ')) return {};
    return { [name]: attempt(['tls', name], text, () => pemText(text, sources)) };
  };
  const tls = certificates && { ...certificates, ...pem('ca'), ...pem('cert') };
  return problems.length > 0 ? { problems } : { value: { ...value, ...(tls && { tls }) } };
}

/** What is wrong with the text of a secret, by where it goes. */
function faultOf(pointer: string, value: string): string | undefined {
  switch (pointer) {
    case '/tls/key':
      return undefined;
    case '/url':
      return postgresUrlFault(value);
    case '/auth/password':
    case '/password':
      return passwordFault(value);
    default:
      return headerValueFault(value);
  }
}

function pemText(path: string, sources: SecretSources): string {
  if (!sources.readFile) {
    throw new SecretError('must be PEM text (-----BEGIN CERTIFICATE-----…): paths work only in a configuration file');
  }
  return fileText(path, sources);
}

/** Literals stay literals; a reference gets its value beside it. */
function withValue(secret: SecretInput, sources: SecretSources): string | ResolvedSecret {
  if (typeof secret === 'string' || 'value' in secret) return secret;
  return { value: resolveSecret(secret, sources), ref: secret };
}

/** Shortest key that is accepted, characters. */
const MINIMUM_KEY = 16;

/** Resolves a whole document; every reference that leads nowhere is told at once. */
export function resolveDocument(document: ConfigDocument, sources: SecretSources): Resolution<ConfigDocument> {
  const problems: Problem[] = [];
  const resolveSection = <T extends WithSecrets>(section: string, rows: Readonly<Record<string, T>> = {}) => {
    const resolved: Record<string, T> = {};
    for (const [name, config] of Object.entries(rows)) {
      const result = resolveSecrets(config, sources, [section, name]);
      if ('problems' in result) problems.push(...result.problems);
      else resolved[name] = result.value;
    }
    return resolved;
  };
  const connections = resolveSection('connections', document.connections);
  const written = resolveSection('sources', document.sources);
  const apiKeys = document.apiKeys?.map((entry, i) => {
    const path = pathText(['identity', 'apiKeys', i, 'key']);
    try {
      const key = withValue(entry.key, sources);
      const text = secretValue(key);
      if (text !== undefined && text.length < MINIMUM_KEY) {
        problems.push({ path, message: `must have at least ${MINIMUM_KEY} characters` });
      }
      return { ...entry, key };
    } catch (error) {
      if (!(error instanceof SecretError)) throw error;
      problems.push({ path, message: error.message });
      return entry;
    }
  });
  if (problems.length > 0) return { problems };
  return {
    value: {
      ...document,
      ...(document.connections && { connections }),
      ...(document.sources && { sources: written }),
      ...(apiKeys && { apiKeys }),
    },
  };
}
