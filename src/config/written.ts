/** The way back: from the types of `document.ts` to the shape that people write, every default spelled out. */
import type {
  AuditConfig,
  ConfigDocument,
  ConnectionConfig,
  NamespaceConfig,
  PersonaConfig,
  RuleConfig,
  SettingsConfig,
  SourceConfig,
} from './document.ts';
import { formatDuration } from './duration.ts';
import { inOrder } from './running-order.ts';

export type Written = Readonly<Record<string, unknown>>;

/** A connection as written. Secrets pass through as they are: `[REDACTED]` for answers, resolved for `apply`. */
export function writtenConnection(connection: ConnectionConfig): Written {
  const { timeoutMs, refreshMs, limits, ...rest } = connection;
  return {
    ...rest,
    timeout: formatDuration(timeoutMs),
    refresh: formatDuration(refreshMs),
    limits: { ...limits, ...(limits.circuitBreaker && { circuitBreaker: writtenBreaker(limits.circuitBreaker) }) },
  };
}

function writtenBreaker({ consecutiveErrors, openForMs }: SourceConfig['circuitBreaker']): Written {
  return { consecutiveErrors, openFor: formatDuration(openForMs) };
}

/** A source as written; of its secrets the same holds. */
export function writtenSource({ circuitBreaker, ...rest }: SourceConfig): Written {
  return { ...rest, circuitBreaker: writtenBreaker(circuitBreaker) };
}

/** A rule as written, without its name. */
export function writtenRule({ timeoutMs, cacheMs, errorBudget, ...rest }: RuleConfig): Written {
  return {
    ...rest,
    timeout: formatDuration(timeoutMs),
    cache: formatDuration(cacheMs),
    errorBudget: { failures: errorBudget.failures, per: formatDuration(errorBudget.perMs) },
  };
}

/** The list of a file, in the order in which the rules run. */
export function writtenRules(
  rules: Readonly<Record<string, RuleConfig>>,
  write: (rule: RuleConfig) => Written = writtenRule,
): Written[] {
  const named = Object.entries(rules).map(([name, config]) => ({ name, config }));
  return named.sort(inOrder).map(({ name, config }) => ({ name, ...write(config) }));
}

export const writtenNamespace = (namespace: NamespaceConfig): Written => ({ ...namespace });

export const writtenPersona = (persona: PersonaConfig): Written => ({ ...persona });

function writtenAudit({ retentionMs, ...rest }: AuditConfig): Written {
  return { retention: formatDuration(retentionMs), ...rest };
}

/** Settings as the admin API shows them. */
export function writtenSettings({ audit, ...rest }: SettingsConfig): Written {
  return { ...rest, audit: writtenAudit(audit) };
}

/** A whole document in the shape of `sallyport.yaml`, for `config/apply` and `config/diff`. */
export function writtenDocument(document: ConfigDocument): Written {
  const { settings, connections, namespaces, personas, apiKeys, sources, rules } = document;
  const { anonymous, ...top } = settings ? writtenSettings(settings) : ({} as Written);
  const identity = { ...(apiKeys && { apiKeys }), ...(anonymous !== undefined && { anonymous }) };
  return {
    ...top,
    ...(connections && { connections: mapValues(connections, writtenConnection) }),
    ...(namespaces && { namespaces: mapValues(namespaces, writtenNamespace) }),
    ...(personas && { personas: mapValues(personas, writtenPersona) }),
    ...(Object.keys(identity).length > 0 && { identity }),
    ...(sources && { sources: mapValues(sources, writtenSource) }),
    ...(rules && { enrichment: writtenRules(rules) }),
  };
}

function mapValues<T>(record: Readonly<Record<string, T>>, write: (value: T) => Written): Record<string, Written> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, write(value)]));
}
