/** The way back: from the types of `document.ts` to the shape that people write, every default spelled out. */
import type {
  AuditConfig,
  ConfigDocument,
  ConnectionConfig,
  NamespaceConfig,
  PersonaConfig,
  SettingsConfig,
} from './document.ts';
import { formatDuration } from './duration.ts';

export type Written = Readonly<Record<string, unknown>>;

/** A connection as written. Secrets pass through as they are: `[REDACTED]` for answers, resolved for `apply`. */
export function writtenConnection(connection: ConnectionConfig): Written {
  const { timeoutMs, refreshMs, limits, ...rest } = connection;
  const breaker = limits.circuitBreaker;
  return {
    ...rest,
    timeout: formatDuration(timeoutMs),
    refresh: formatDuration(refreshMs),
    limits: {
      ...limits,
      ...(breaker && {
        circuitBreaker: { consecutiveErrors: breaker.consecutiveErrors, openFor: formatDuration(breaker.openForMs) },
      }),
    },
  };
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
  const { settings, connections, namespaces, personas, apiKeys } = document;
  const { anonymous, ...top } = settings ? writtenSettings(settings) : ({} as Written);
  const identity = { ...(apiKeys && { apiKeys }), ...(anonymous !== undefined && { anonymous }) };
  return {
    ...top,
    ...(connections && { connections: mapValues(connections, writtenConnection) }),
    ...(namespaces && { namespaces: mapValues(namespaces, writtenNamespace) }),
    ...(personas && { personas: mapValues(personas, writtenPersona) }),
    ...(Object.keys(identity).length > 0 && { identity }),
  };
}

function mapValues<T>(record: Readonly<Record<string, T>>, write: (value: T) => Written): Record<string, Written> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, write(value)]));
}
