/**
 * A document as the YAML that would produce it: defaults left out, secrets as their references, and `[REDACTED]`
 * where a secret was written out (applying that keeps the stored one).
 */
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import type {
  ApiKeyConfig,
  ConfigDocument,
  ConnectionConfig,
  RuleConfig,
  SecretInput,
  SourceConfig,
} from './document.ts';
import { REDACTED } from './document.ts';
import {
  connectionSchema,
  DEFAULT_SETTINGS,
  namespaceSchema,
  personaSchema,
  ruleSchema,
  sourceSchema,
} from './schema.ts';
import { mapSecrets, secretReference } from './secrets.ts';
import type { Written } from './written.ts';
import {
  writtenConnection,
  writtenNamespace,
  writtenPersona,
  writtenRule,
  writtenRules,
  writtenSettings,
  writtenSource,
} from './written.ts';

/** YAML text of a document. */
export function toYaml(document: ConfigDocument): string {
  return stringify(toExport(document), { lineWidth: 0 });
}

/** The same as JSON: what `export --json` prints and a file may hold. */
export function toExport(document: ConfigDocument): Written {
  const { settings, connections, namespaces, personas, apiKeys, sources, rules } = document;
  const { anonymous, ...top } = settings ? withoutDefaults(writtenSettings(settings), SETTINGS) : ({} as Written);
  const identity = {
    ...(apiKeys && { apiKeys: apiKeys.map(exportKey) }),
    ...(anonymous !== undefined && { anonymous }),
  };
  const written = {
    // Something has to be there to say that the settings were written, even where all of them are defaults.
    ...(settings && !anonymous && Object.keys(top).length === 0 && { listener: {} }),
    ...top,
    ...(connections && { connections: mapValues(connections, exportConnection) }),
    ...(namespaces && {
      namespaces: mapValues(namespaces, (one) => withoutDefaults(writtenNamespace(one), NAMESPACE)),
    }),
    ...(personas && { personas: mapValues(personas, (one) => withoutDefaults(writtenPersona(one), PERSONA)) }),
    ...(Object.keys(identity).length > 0 && { identity }),
    ...(sources && { sources: mapValues(sources, exportSource) }),
  };
  return {
    ...literally(written, true),
    // Without secrets: whatever looks like a reference in a rule is its own text.
    ...(rules && { enrichment: writtenRules(rules, exportRule).map((rule) => literally(rule, false)) }),
  };
}

function exportConnection(connection: ConnectionConfig): Written {
  return withoutDefaults(writtenConnection(mapSecrets(connection, asReference)), CONNECTION);
}

function exportSource(source: SourceConfig): Written {
  return withoutDefaults(writtenSource(mapSecrets(source, asReference)), SOURCES[source.type]);
}

function exportRule(rule: RuleConfig): Written {
  const { source } = rule;
  const ordered = withoutDefaults({ ...source }, {});
  return withoutDefaults({ ...writtenRule(rule), source: ordered }, RULE);
}

function exportKey(entry: ApiKeyConfig): Written {
  return { ...entry, key: asReference(entry.key) };
}

const asReference = (secret: SecretInput): SecretInput => secretReference(secret) ?? REDACTED;

/** Text means itself when it is read again, except for templates of secrets, which are meant to be filled in. */
function literally<T>(value: T, templates: boolean): T {
  const literal = (inner: unknown): unknown => {
    if (typeof inner === 'string') return inner.replaceAll('${', '$$${');
    if (Array.isArray(inner)) return inner.map(literal);
    if (typeof inner !== 'object' || inner === null) return inner;
    const entries = Object.entries(inner);
    const [only] = entries;
    if (templates && only?.[0] === 'template' && entries.length === 1) return only[1];
    return Object.fromEntries(entries.map(([key, one]) => [key, literal(one)]));
  };
  return literal(value) as T;
}

const { connections: _, ...NAMESPACE } = writtenNamespace(namespaceSchema.parse({ connections: [] }));
const { url: __, ...CONNECTION } = writtenConnection(connectionSchema.parse({ url: 'http://localhost' }));
const PERSONA = writtenPersona(personaSchema.parse({}));
/** Of each type what holds where only what is required is written; `type` itself is always written. */
const SOURCES = {
  trino: sourceDefaults({ type: 'trino', url: 'http://x', user: 'x' }),
  postgres: sourceDefaults({ type: 'postgres', url: { env: 'X' } }),
  datahub: sourceDefaults({ type: 'datahub', url: 'http://x' }),
  http: sourceDefaults({ type: 'http', url: 'http://x' }),
};
const RULE = ruleDefaults();
const SETTINGS = writtenSettings(DEFAULT_SETTINGS);

function sourceDefaults(least: object): Written {
  const { type, url, user, ...defaults } = writtenSource(sourceSchema.parse(least)) as Record<string, unknown>;
  return defaults;
}

function ruleDefaults(): Written {
  const least = { connection: '*', tool: '*', source: { tool: 'x' }, merge: { path: 'x' } };
  const { connection, tool, source, merge, ...defaults } = writtenRule(ruleSchema.parse(least));
  const { path, ...merging } = merge as Record<string, unknown>;
  return { ...defaults, merge: merging };
}

/** The order in which people write things; what comes from the database has lost its own. */
const ORDER = [
  'type',
  'connection',
  'tool',
  'when',
  'forEach',
  'source',
  'merge',
  'use',
  'query',
  'request',
  'operation',
  'preset',
  'bind',
  'path',
  'url',
  'roles',
  'subjects',
  'priority',
  'connections',
  'tools',
  'allow',
  'deny',
  'auth',
  'headers',
];

function inOrder([a]: [string, unknown], [b]: [string, unknown]): number {
  const rank = (key: string) => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length);
  return rank(a) - rank(b);
}

/** Drops what the schema fills in by itself, at any depth. */
function withoutDefaults(written: Written, defaults: Written): Written {
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(written).sort(inOrder)) {
    const usual = defaults[key];
    if (isDeepStrictEqual(value, usual)) continue;
    kept[key] = isPlain(value) && isPlain(usual) ? withoutDefaults(value, usual) : value;
  }
  return kept;
}

const isPlain = (value: unknown): value is Written =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function mapValues<T>(record: Readonly<Record<string, T>>, write: (value: T) => Written): Record<string, Written> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, write(value)]));
}
