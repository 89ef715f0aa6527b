/**
 * What people write, as zod schemas that produce the types of `document.ts` with defaults filled in. Unknown keys
 * are errors. The same schemas read `sallyport.yaml` and the bodies of the admin API, and the published JSON Schema
 * is generated from them.
 */
import { z } from 'zod';
import { connectionSchema } from './connection-schema.ts';
import type {
  ApiKeyConfig,
  AuditConfig,
  ConfigDocument,
  ListenerConfig,
  NamespaceConfig,
  PersonaConfig,
  SettingsConfig,
} from './document.ts';
import { REDACTED } from './document.ts';
import {
  checked,
  date,
  description,
  duration,
  origin,
  patterns,
  role,
  secret,
  size,
  strict,
  uriPatterns,
  url,
} from './fields.ts';
import { NOT_YET } from './keys.ts';
import { connectionNameFault, namespaceNameFault, patternFault, plainNameFault } from './names.ts';
import { namedRuleSchema, ruleSchema } from './rule-schema.ts';
import { sourceSchema } from './source-schema.ts';

export { connectionSchema, ruleSchema, sourceSchema };

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MIB = 1024 * 1024;

const namespaceShape = {
  connections: z
    .array(checked(patternFault))
    .describe('Connections by name or pattern, in the order in which their tools are listed.'),
  prefix: z
    .enum(['always', 'collision', 'never'])
    .default('always')
    .describe('When a tool is called connection__tool instead of tool.'),
  presentation: z
    .enum(['flat'], {
      error: (issue) => (issue.input === 'progressive' ? `"progressive" ${NOT_YET}: use flat` : undefined),
    })
    .default('flat'),
  description: description.exactOptional(),
};
const LATER_NAMESPACE = ['overrides', 'path', 'hosts', 'tools'];

/** One MCP endpoint. */
export const namespaceSchema: z.ZodType<NamespaceConfig> = strict(namespaceShape, LATER_NAMESPACE);

const personaShape = {
  roles: z.array(role).default([]).describe('Callers with one of these roles get this persona.'),
  subjects: z
    .array(z.string().min(1).max(256))
    .default([])
    .describe('Callers by their subject (for a key: its name); comes before roles.'),
  priority: z
    .int()
    .min(-1_000_000)
    .max(1_000_000)
    .default(0)
    .describe('Of several personas that fit, the highest priority wins.'),
  tools: strict({ allow: uriPatterns.default([]), deny: uriPatterns.default([]) })
    .default({ allow: [], deny: [] })
    .describe(
      'Patterns over names as clients see them (connection__tool), and over connection__URI. Deny wins; what is not allowed is denied.',
    ),
  connections: strict({ allow: patterns.default(['*']), deny: patterns.default([]) })
    .default({ allow: ['*'], deny: [] })
    .describe('Patterns over connection names; a tool needs both its name and its connection allowed.'),
  description: description.exactOptional(),
};
const LATER_PERSONA = ['groups', 'when', 'limits', 'hours', 'sources', 'scopes', 'inspection', 'prompts', 'resources'];

/** What a set of roles may see and do. */
export const personaSchema: z.ZodType<PersonaConfig> = strict(personaShape, LATER_PERSONA);

/** A key that a configuration file owns. */
export const apiKeySchema: z.ZodType<ApiKeyConfig> = strict(
  {
    name: checked(plainNameFault),
    key: secret
      .refine(
        (key) => typeof key !== 'string' || key === REDACTED || key.length >= 16,
        'must have at least 16 characters',
      )
      .describe('The key that clients send as "Authorization: Bearer …"; at least 16 characters.'),
    roles: z.array(role).min(1),
    expires: date.describe('ISO date or date-time after which the key is refused.').exactOptional(),
  },
  ['tenant', 'subject', 'groups'],
);

const listenerShape = {
  tls: strict({
    cert: z.string().min(1).describe('Path of the certificate chain (PEM); reloaded when the file changes.'),
    key: z.string().min(1).describe('Path of its private key (PEM).'),
    clientCa: z.string().min(1).describe('Path of the CA whose client certificates are required.').exactOptional(),
  }).exactOptional(),
};
const listenerSchema: z.ZodType<ListenerConfig> = strict(listenerShape);

const recordMode = z.enum(['none', 'digest', 'redacted', 'full']);
const auditSchema: z.ZodType<AuditConfig> = strict(
  {
    retention: duration(HOUR, 3650 * DAY)
      .prefault('90d')
      .describe('How long events are kept.'),
    record: strict({ arguments: recordMode.default('redacted'), results: recordMode.default('digest') }).default({
      arguments: 'redacted',
      results: 'digest',
    }),
    redactKeys: z
      .array(z.string().min(1).max(100))
      .transform((keys) => [...new Set(keys.map((key) => key.toLowerCase()))])
      .default([])
      .describe('Keys whose values are masked, besides the built-in ones.'),
    maxValueBytes: size(64, MIB).default(16_384).describe('Longer values are cut.'),
  },
  ['receipts', 'redactPatterns'],
).transform(({ retention, ...rest }) => ({ retentionMs: retention, ...rest }));

const anonymous = strict({ roles: z.array(role).min(1) });

const allowedOrigins = z.array(origin).describe("Origins besides publicUrl's own that browsers may call from.");
const maxRequestBytes = size(1024, 64 * MIB).describe('Largest request body (default 4MiB).');

const settingsShape = {
  publicUrl: url({ query: false }).describe('The URL that clients use.').exactOptional(),
  listener: listenerSchema.prefault({}).describe('The MCP listener; without "tls" plain HTTP.'),
  allowedOrigins: allowedOrigins.default([]),
  audit: auditSchema.prefault({}),
  maxRequestBytes: maxRequestBytes.default(4 * MIB),
};

/** Settings as the admin API takes them: the file's top-level keys, with `anonymous` beside them. */
export const settingsSchema: z.ZodType<SettingsConfig> = strict({
  ...settingsShape,
  anonymous: anonymous.exactOptional(),
});

const LATER_ROOT = ['tenants', 'inspection', 'rules', 'telemetry'];
const SETTINGS_KEYS = ['publicUrl', 'listener', 'allowedOrigins', 'audit', 'maxRequestBytes'] as const;

/** A whole `sallyport.yaml`. */
export const configFileSchema: z.ZodType<ConfigDocument> = strict(
  {
    $schema: z.string().describe('For editors; has no effect.').exactOptional(),
    publicUrl: settingsShape.publicUrl,
    listener: listenerSchema.describe('The MCP listener; without "tls" plain HTTP.').exactOptional(),
    allowedOrigins: allowedOrigins.exactOptional(),
    maxRequestBytes: maxRequestBytes.exactOptional(),
    connections: z
      .record(checked(connectionNameFault), connectionSchema)
      .describe('Upstream MCP servers by name.')
      .exactOptional(),
    namespaces: z
      .record(checked(namespaceNameFault), namespaceSchema)
      .describe('MCP endpoints by name: /NAME/mcp, and /mcp for "default".')
      .exactOptional(),
    personas: z
      .record(checked(plainNameFault), personaSchema)
      .describe('Who may see and do what. Without this section a persona "admin" may do everything.')
      .exactOptional(),
    identity: strict(
      {
        apiKeys: z.array(apiKeySchema).describe('Keys that clients authenticate with.').exactOptional(),
        anonymous: anonymous.describe('Roles of callers without a key; without this they are refused.').exactOptional(),
      },
      ['issuers', 'mtls', 'introspection'],
    ).exactOptional(),
    sources: z
      .record(checked(plainNameFault), sourceSchema)
      .describe('Where enrichment rules get what they add, by name.')
      .exactOptional(),
    enrichment: z
      .array(namedRuleSchema)
      .describe('Rules that add to the results of tools: when, source, merge.')
      .exactOptional(),
    audit: auditSchema.exactOptional(),
  },
  LATER_ROOT,
).transform((written, context): ConfigDocument => {
  const { connections, namespaces, personas, identity, sources, enrichment } = written;
  const settings = readSettings(written);
  const tellTwice = (kind: string, entries: readonly { readonly name: string }[], ...steps: string[]): void => {
    for (const [i, { name }] of entries.entries()) {
      if (entries.findIndex((one) => one.name === name) === i) continue;
      const message = `a ${kind} named "${name}" is there twice`;
      context.addIssue({ code: 'custom', path: [...steps, i, 'name'], message });
    }
  };
  tellTwice('key', identity?.apiKeys ?? [], 'identity', 'apiKeys');
  tellTwice('rule', enrichment ?? [], 'enrichment');
  return {
    ...(settings && { settings }),
    ...(connections && { connections }),
    ...(namespaces && { namespaces }),
    ...(personas && { personas }),
    ...(identity?.apiKeys && { apiKeys: identity.apiKeys }),
    ...(sources && { sources }),
    ...(enrichment && { rules: Object.fromEntries(enrichment.map(({ name, ...rule }) => [name, rule])) }),
  };
});

type WrittenSettings = Partial<Omit<SettingsConfig, 'anonymous'>> & {
  readonly identity?: { readonly anonymous?: { readonly roles: readonly string[] } };
};

/** Nothing written about settings leaves the stored ones; anything written replaces them as a whole. */
function readSettings(written: WrittenSettings): SettingsConfig | undefined {
  const anonymousRoles = written.identity?.anonymous;
  if (!anonymousRoles && SETTINGS_KEYS.every((key) => written[key] === undefined)) return undefined;
  return {
    ...(written.publicUrl !== undefined && { publicUrl: written.publicUrl }),
    listener: written.listener ?? {},
    allowedOrigins: written.allowedOrigins ?? [],
    ...(anonymousRoles && { anonymous: anonymousRoles }),
    audit: written.audit ?? DEFAULT_SETTINGS.audit,
    maxRequestBytes: written.maxRequestBytes ?? DEFAULT_SETTINGS.maxRequestBytes,
  };
}

/** What holds where nothing was ever configured. */
export const DEFAULT_SETTINGS: SettingsConfig = settingsSchema.parse({});
