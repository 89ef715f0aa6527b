/** What changes from one document to another, by section and name, for people and programs. Secrets are never shown. */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ApiKeyConfig, ConfigDocument, SecretInput } from './document.ts';
import { REDACTED } from './document.ts';
import { pathText } from './problems.ts';
import { pointerSteps, secretReference, secretValue, splitSecrets, type WithSecrets } from './secrets.ts';
import type { Written } from './written.ts';
import {
  writtenConnection,
  writtenNamespace,
  writtenPersona,
  writtenRule,
  writtenSettings,
  writtenSource,
} from './written.ts';

export interface FieldChange {
  readonly path: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface ConfigChange {
  readonly kind: 'added' | 'changed' | 'removed';
  readonly section: 'settings' | 'connections' | 'namespaces' | 'personas' | 'apiKeys' | 'sources' | 'rules';
  /** Absent for `settings`. */
  readonly name?: string;
  /** Of a changed entry: what differs. */
  readonly fields: readonly FieldChange[];
}

/**
 * Compares section by section; a section that `after` does not have is left alone. A secret that reads `[REDACTED]`
 * in `after` is kept; one that reads so in `before` is unknown, and any value counts as a change: fill in what the
 * vault holds first.
 */
export function diffDocuments(before: ConfigDocument, after: ConfigDocument): ConfigChange[] {
  const settings = after.settings === undefined ? [] : diffFields(written(before.settings), written(after.settings));
  return [
    ...(settings.length > 0 ? [{ kind: 'changed', section: 'settings', fields: settings } as const] : []),
    ...diffSection('connections', before.connections, after.connections, (a, b) =>
      diffWithSecrets(a, b, writtenConnection),
    ),
    ...diffSection('namespaces', before.namespaces, after.namespaces, (a, b) =>
      diffFields(writtenNamespace(a), writtenNamespace(b)),
    ),
    ...diffSection('personas', before.personas, after.personas, (a, b) =>
      diffFields(writtenPersona(a), writtenPersona(b)),
    ),
    ...diffSection('apiKeys', byName(before.apiKeys), byName(after.apiKeys), diffKeys),
    ...diffSection('sources', before.sources, after.sources, (a, b) => diffWithSecrets(a, b, writtenSource)),
    ...diffSection('rules', before.rules, after.rules, (a, b) => diffFields(writtenRule(a), writtenRule(b))),
  ];
}

const written = (settings: ConfigDocument['settings']) => (settings ? writtenSettings(settings) : {});

const byName = (keys: readonly ApiKeyConfig[] | undefined) =>
  keys && Object.fromEntries(keys.map((entry) => [entry.name, entry]));

function diffSection<T>(
  section: ConfigChange['section'],
  before: Readonly<Record<string, T>> | undefined,
  after: Readonly<Record<string, T>> | undefined,
  compare: (before: T, after: T) => FieldChange[],
): ConfigChange[] {
  if (after === undefined) return [];
  const old = new Map(Object.entries(before ?? {}));
  const changes: ConfigChange[] = [];
  for (const [name, value] of Object.entries(after)) {
    const previous = old.get(name);
    old.delete(name);
    if (previous === undefined) {
      changes.push({ kind: 'added', section, name, fields: [] });
      continue;
    }
    const fields = compare(previous, value);
    if (fields.length > 0) changes.push({ kind: 'changed', section, name, fields });
  }
  for (const name of old.keys()) changes.push({ kind: 'removed', section, name, fields: [] });
  return changes;
}

function diffWithSecrets<T extends WithSecrets>(before: T, after: T, write: (config: T) => Written): FieldChange[] {
  const a = splitSecrets(withHiddenHeaders(before));
  const b = splitSecrets(withHiddenHeaders(after));
  const fields = diffFields(write(a.config), write(b.config));
  for (const pointer of new Set([...Object.keys(a.secrets), ...Object.keys(b.secrets)])) {
    const change = diffSecret(pathText(pointerSteps(pointer)), a.secrets[pointer], b.secrets[pointer]);
    if (change) fields.push(change);
  }
  return fields;
}

/** A header that is a secret on one side may look like plain text on the other: no header's value is shown. */
function withHiddenHeaders<T extends WithSecrets>(config: T): T {
  if (!('headers' in config)) return config;
  const headers = Object.entries(config.headers).map(([name, value]): [string, SecretInput] => [
    name,
    typeof value === 'string' && value !== REDACTED ? { value } : value,
  ]);
  return { ...config, headers: Object.fromEntries(headers) };
}

function diffKeys({ key: oldKey, ...before }: ApiKeyConfig, { key, ...after }: ApiKeyConfig): FieldChange[] {
  const change = diffSecret('key', oldKey, key);
  return [...diffFields(before, after), ...(change ? [change] : [])];
}

function diffSecret(
  path: string,
  before: SecretInput | undefined,
  after: SecretInput | undefined,
): FieldChange | undefined {
  if (before !== undefined && (after === REDACTED || isSameSecret(before, after))) return undefined;
  return {
    path,
    ...(before !== undefined && { before: secretLabel(before) }),
    ...(after !== undefined && { after: `${before === undefined ? '' : 'new '}${secretLabel(after)}` }),
  };
}

function isSameSecret(before: SecretInput, after: SecretInput | undefined): boolean {
  if (after === undefined) return false;
  const sameOrigin = isDeepStrictEqual(secretReference(before), secretReference(after));
  return sameOrigin && secretValue(before) === secretValue(after);
}

function secretLabel(secret: SecretInput): string {
  const reference = secretReference(secret);
  if (!reference) return 'hidden value';
  if ('env' in reference) return `value from env ${reference.env}`;
  return 'file' in reference ? `value from file ${reference.file}` : `value from "${reference.template}"`;
}

function diffFields(before: object, after: object): FieldChange[] {
  const old = new Map(leaves(before, []));
  const fields: FieldChange[] = [];
  for (const [path, value] of leaves(after, [])) {
    const previous = old.get(path);
    if (!isDeepStrictEqual(previous, value)) {
      fields.push({ path, ...(old.has(path) && { before: previous }), after: value });
    }
    old.delete(path);
  }
  for (const [path, value] of old) fields.push({ path, before: value });
  return fields;
}

/** Lists count as one value. Secrets are compared apart, PEM is shown by its digest. */
function leaves(value: object, steps: readonly string[]): [string, unknown][] {
  return Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
    const here = [...steps, key];
    if (inner === REDACTED) return [];
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) return leaves(inner, here);
    return [[pathText(here), typeof inner === 'string' && inner.includes('-----BEGIN ') ? pemLabel(inner) : inner]];
  });
}

const pemLabel = (pem: string): string => `PEM ${createHash('sha256').update(pem).digest('hex').slice(0, 12)}`;

const SIGNS = { added: '+', changed: '~', removed: '-' } as const;

/** Lines for a terminal; `No changes.` when there are none. */
export function renderChanges(changes: readonly ConfigChange[]): string {
  if (changes.length === 0) return 'No changes.';
  return changes
    .flatMap(({ kind, section, name, fields }) => [
      `${SIGNS[kind]} ${section}${name === undefined ? '' : ` ${name}`}`,
      ...fields.map((field) => `    ${field.path}: ${shown(field, 'before')} → ${shown(field, 'after')}`),
    ])
    .join('\n');
}

function shown(field: FieldChange, side: 'before' | 'after'): string {
  if (!(side in field)) return '(not set)';
  const value = field[side];
  return typeof value === 'string' ? value : JSON.stringify(value);
}
