/**
 * Where the secrets of a connection are, taking them out of its configuration and putting them back, and turning
 * references into values. A secret is addressed by a JSON pointer into the connection: `/auth/token`, `/headers/x-key`.
 */
import type {
  AuthConfig,
  ConfigDocument,
  ConnectionConfig,
  ResolvedSecret,
  SecretInput,
  SecretReference,
} from './document.ts';
import { REDACTED } from './document.ts';
import { headerValueFault, isSecretHeader, passwordFault } from './names.ts';
import type { Problem } from './problems.ts';
import { pathText } from './problems.ts';

/** Replaces every secret of a connection by what `change` makes of it. Everything below is this function, applied. */
export function mapSecrets(
  connection: ConnectionConfig,
  change: (secret: SecretInput, pointer: string) => SecretInput,
): ConnectionConfig {
  const headers: Record<string, SecretInput> = {};
  for (const [name, value] of Object.entries(connection.headers)) {
    headers[name] = isSecretHeaderValue(name, value) ? change(value, `/headers/${escapePointer(name)}`) : value;
  }
  const { tls } = connection;
  return {
    ...connection,
    auth: mapAuth(connection.auth, change),
    headers,
    ...(tls?.key !== undefined && { tls: { ...tls, key: change(tls.key, '/tls/key') } }),
  };
}

function mapAuth(auth: AuthConfig, change: (secret: SecretInput, pointer: string) => SecretInput): AuthConfig {
  switch (auth.type) {
    case 'none':
      return auth;
    case 'bearer':
      return { ...auth, token: change(auth.token, '/auth/token') };
    case 'api_key':
      return { ...auth, value: change(auth.value, '/auth/value') };
    case 'basic':
      return { ...auth, password: change(auth.password, '/auth/password') };
  }
}

/** A header that came by reference, or whose name says that it carries a secret. */
function isSecretHeaderValue(name: string, value: SecretInput): boolean {
  return typeof value !== 'string' || value === REDACTED || isSecretHeader(name);
}

/** `~` and `/` are escaped in JSON pointers (RFC 6901 §3); header names may contain `~`. */
const escapePointer = (step: string): string => step.replaceAll('~', '~0').replaceAll('/', '~1');

/** The steps of a pointer that this file made. */
export function pointerSteps(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** A connection fit for storing and showing, and its secrets apart, by pointer. */
export function splitSecrets(connection: ConnectionConfig): {
  readonly config: ConnectionConfig;
  readonly secrets: Readonly<Record<string, SecretInput>>;
} {
  const secrets: Record<string, SecretInput> = {};
  const config = mapSecrets(connection, (secret, pointer) => {
    secrets[pointer] = secret;
    return REDACTED;
  });
  return { config, secrets };
}

/** Puts secrets (values, or references for `export`) back where they belong; the others stay as they are. */
export function joinSecrets(
  config: ConnectionConfig,
  secrets: Readonly<Record<string, SecretInput>>,
): ConnectionConfig {
  return mapSecrets(config, (secret, pointer) => secrets[pointer] ?? secret);
}

/** The value, once resolved. `undefined`: still a reference, or `[REDACTED]` (keep the stored one). */
export function secretValue(secret: SecretInput): string | undefined {
  if (typeof secret === 'string') return secret === REDACTED ? undefined : secret;
  return 'value' in secret ? secret.value : undefined;
}

/** Where the secret came from, if it did not stand in the file itself. */
export function secretReference(secret: SecretInput): SecretReference | undefined {
  if (typeof secret === 'string') return undefined;
  return 'value' in secret ? secret.ref : secret;
}

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

/** Resolves whatever a connection refers to: secrets become `ResolvedSecret`s, `tls.ca` and `tls.cert` PEM text. */
export function resolveConnection(
  connection: ConnectionConfig,
  sources: SecretSources,
  steps: readonly string[] = [],
): Resolution<ConnectionConfig> {
  const problems: Problem[] = [];
  const attempt = <T>(at: readonly string[], instead: T, resolve: () => T): T => {
    try {
      return resolve();
    } catch (error) {
      if (!(error instanceof SecretError)) throw error;
      problems.push({ path: pathText([...steps, ...at]), message: error.message });
      return instead;
    }
  };
  const value = mapSecrets(connection, (secret, pointer) =>
    attempt(pointerSteps(pointer), secret, () => {
      const resolved = withValue(secret, sources);
      const fault = faultOf(pointer, resolveSecret(resolved, sources));
      if (fault) throw new SecretError(fault);
      return resolved;
    }),
  );
  const pem = (name: 'ca' | 'cert') => {
    const text = value.tls?.[name];
    if (text === undefined || text.includes('-----BEGIN ')) return {};
    return { [name]: attempt(['tls', name], text, () => pemText(text, sources)) };
  };
  const tls = value.tls && { ...value.tls, ...pem('ca'), ...pem('cert') };
  return problems.length > 0 ? { problems } : { value: { ...value, ...(tls && { tls }) } };
}

function faultOf(pointer: string, value: string): string | undefined {
  if (pointer === '/tls/key') return undefined;
  return pointer === '/auth/password' ? passwordFault(value) : headerValueFault(value);
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
  const connections: Record<string, ConnectionConfig> = {};
  for (const [name, connection] of Object.entries(document.connections ?? {})) {
    const result = resolveConnection(connection, sources, ['connections', name]);
    if ('problems' in result) problems.push(...result.problems);
    else connections[name] = result.value;
  }
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
  return { value: { ...document, ...(document.connections && { connections }), ...(apiKeys && { apiKeys }) } };
}
