/**
 * A document as the YAML that would produce it: defaults left out, secrets as their references, and `[REDACTED]`
 * where a secret was written out (applying that keeps the stored one).
 */
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import type { ApiKeyConfig, ConfigDocument, ConnectionConfig, SecretInput } from './document.ts';
import { REDACTED } from './document.ts';
import { connectionSchema, DEFAULT_SETTINGS, namespaceSchema, personaSchema } from './schema.ts';
import { mapSecrets, secretReference } from './secrets.ts';
import type { Written } from './written.ts';
import { writtenConnection, writtenNamespace, writtenPersona, writtenSettings } from './written.ts';

/** YAML text of a document. */
export function toYaml(document: ConfigDocument): string {
  return stringify(toExport(document), { lineWidth: 0 });
}

/** The same as JSON: what `export --json` prints and a file may hold. */
export function toExport(document: ConfigDocument): Written {
  const { settings, connections, namespaces, personas, apiKeys } = document;
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
  };
  return literally(written) as Written;
}

function exportConnection(connection: ConnectionConfig): Written {
  return withoutDefaults(writtenConnection(mapSecrets(connection, asReference)), CONNECTION);
}

function exportKey(entry: ApiKeyConfig): Written {
  return { ...entry, key: asReference(entry.key) };
}

const asReference = (secret: SecretInput): SecretInput => secretReference(secret) ?? REDACTED;

/** Text means itself when it is read again, except for templates, which are meant to be filled in. */
function literally(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${', '$$${');
  if (Array.isArray(value)) return value.map(literally);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (only?.[0] === 'template' && entries.length === 1) return only[1];
  return Object.fromEntries(entries.map(([key, inner]) => [key, literally(inner)]));
}

const { connections: _, ...NAMESPACE } = writtenNamespace(namespaceSchema.parse({ connections: [] }));
const { url: __, ...CONNECTION } = writtenConnection(connectionSchema.parse({ url: 'http://localhost' }));
const PERSONA = writtenPersona(personaSchema.parse({}));
const SETTINGS = writtenSettings(DEFAULT_SETTINGS);

/** The order in which people write things; what comes from the database has lost its own. */
const ORDER = [
  'url',
  'roles',
  'subjects',
  'priority',
  'connections',
  'tools',
  'type',
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
