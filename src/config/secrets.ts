/**
 * Where the secrets of connections and sources are, taking them out of a configuration and putting them back. A secret
 * is addressed by a JSON pointer into it: `/auth/token`, `/headers/x-key`, `/url` of a database.
 */
import type { AuthConfig, ConnectionConfig, SecretInput, SecretReference, SourceConfig } from './document.ts';
import { REDACTED } from './document.ts';
import { isSecretHeader } from './names.ts';

/** What has secrets inside: one mechanism for all of them. */
export type WithSecrets = ConnectionConfig | SourceConfig;

type Change = (secret: SecretInput, pointer: string) => SecretInput;

/** Replaces every secret by what `change` makes of it. Everything below is this function, applied. */
export function mapSecrets<T extends WithSecrets>(config: T, change: Change): T {
  return ('type' in config ? mapSource(config, change) : mapConnection(config, change)) as T;
}

function mapConnection(connection: ConnectionConfig, change: Change): ConnectionConfig {
  const headers = mapHeaders(connection.headers, change);
  const { tls } = connection;
  return {
    ...connection,
    auth: mapAuth(connection.auth, change),
    headers,
    ...(tls?.key !== undefined && { tls: { ...tls, key: change(tls.key, '/tls/key') } }),
  };
}

function mapSource(source: SourceConfig, change: Change): SourceConfig {
  switch (source.type) {
    case 'trino': {
      const { password, token } = source;
      return {
        ...source,
        ...(password !== undefined && { password: change(password, '/password') }),
        ...(token !== undefined && { token: change(token, '/token') }),
      };
    }
    case 'postgres':
      return { ...source, url: change(source.url, '/url') };
    case 'datahub':
      return { ...source, ...(source.token !== undefined && { token: change(source.token, '/token') }) };
    case 'http':
      return { ...source, headers: mapHeaders(source.headers, change) };
  }
}

function mapHeaders(written: ConnectionConfig['headers'], change: Change): Record<string, SecretInput> {
  const headers: Record<string, SecretInput> = {};
  for (const [name, value] of Object.entries(written)) {
    headers[name] = isSecretHeaderValue(name, value) ? change(value, `/headers/${escapePointer(name)}`) : value;
  }
  return headers;
}

function mapAuth(auth: AuthConfig, change: Change): AuthConfig {
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

/** A configuration fit for storing and showing, and its secrets apart, by pointer. */
export function splitSecrets<T extends WithSecrets>(
  whole: T,
): { readonly config: T; readonly secrets: Readonly<Record<string, SecretInput>> } {
  const secrets: Record<string, SecretInput> = {};
  const config = mapSecrets(whole, (secret, pointer) => {
    secrets[pointer] = secret;
    return REDACTED;
  });
  return { config, secrets };
}

/** Puts secrets (values, or references for `export`) back where they belong; the others stay as they are. */
export function joinSecrets<T extends WithSecrets>(config: T, secrets: Readonly<Record<string, SecretInput>>): T {
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
