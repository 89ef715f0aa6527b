/** One upstream as people write it: see `schema.ts`. */
import { z } from 'zod';
import { type AuthConfig, type ConnectionConfig, REDACTED, type SecretInput } from './document.ts';
import { checked, description, duration, secret, strict, url } from './fields.ts';
import { NOT_YET } from './keys.ts';
import { forwardedHeaderFault, headerNameFault, headerValueFault, passwordFault, secretParameters } from './names.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;

/** A secret whose text, where it is written out, passes a check of `names.ts`. */
export const secretText = (check: (text: string) => string | undefined) =>
  secret.superRefine((value, context) => {
    const fault = typeof value === 'string' && value !== REDACTED ? check(value) : undefined;
    if (fault) context.addIssue({ code: 'custom', message: fault });
  });
/** One that is sent as (part of) a header value. */
export const headerSecret = secretText(headerValueFault);

const bearer = strict({ type: z.literal('bearer'), token: headerSecret });
const apiKey = strict({
  type: z.literal('api_key'),
  header: checked(headerNameFault).describe('Name of the header that carries the key.').exactOptional(),
  query: z
    .string()
    .regex(/^[A-Za-z0-9._~-]+$/, 'must be a plain parameter name')
    .describe('Name of the query parameter that carries the key.')
    .exactOptional(),
  value: headerSecret,
});
const basic = strict({
  type: z.literal('basic'),
  username: z
    .string()
    .min(1)
    .refine((text) => !/[:\p{Cc}]/u.test(text), 'must not contain ":" or control characters'),
  password: secretText(passwordFault),
});

/** How the gateway authenticates to an upstream. */
const authSchema: z.ZodType<AuthConfig> = z
  .discriminatedUnion('type', [strict({ type: z.literal('none') }), bearer, apiKey, basic], {
    error: (issue) => {
      const type = (issue.input as { type?: unknown } | null | undefined)?.type;
      if (issue.code !== 'invalid_union') return undefined;
      if (type === 'oauth2') return `"oauth2" ${NOT_YET}: use none, bearer, api_key or basic`;
      return type === undefined ? 'is required' : 'must be one of none, bearer, api_key, basic';
    },
  })
  .transform((auth, context): AuthConfig => {
    if (auth.type !== 'api_key') return auth;
    const { header, query, value } = auth;
    if (header !== undefined && query === undefined) return { type: 'api_key', header: header.toLowerCase(), value };
    if (query !== undefined && header === undefined) return { type: 'api_key', query, value };
    context.addIssue({ code: 'custom', message: 'needs either "header" or "query", to say where the key goes' });
    return z.NEVER;
  });

/** Headers by lower-case name, none of them twice. */
export const headers = z.record(checked(headerNameFault), headerSecret).transform((written, context) => {
  const lower: Record<string, SecretInput> = {};
  for (const [name, value] of Object.entries(written)) {
    if (Object.hasOwn(lower, name.toLowerCase())) {
      context.addIssue({ code: 'custom', path: [name], message: `header "${name}" is there twice` });
    }
    lower[name.toLowerCase()] = value;
  }
  return lower;
});

const limits = strict(
  {
    maxConcurrent: z
      .int()
      .min(1)
      .max(100_000)
      .describe('Calls in flight at most; more are refused at once.')
      .exactOptional(),
    circuitBreaker: strict({
      consecutiveErrors: z.int().min(1).max(1000),
      openFor: duration(100, HOUR),
    })
      .transform(({ consecutiveErrors, openFor }) => ({ consecutiveErrors, openForMs: openFor }))
      .describe('After so many errors in a row the upstream is left alone for a while.')
      .exactOptional(),
  },
  ['callsPerMinute', 'burst'],
);

const upstreamTls = strict({
  ca: z.string().min(1).describe('PEM, or its path: trusted instead of the public roots.').exactOptional(),
  cert: z.string().min(1).describe('Client certificate, PEM or its path.').exactOptional(),
  key: secret.describe('Its private key: PEM, a path, or { env: NAME }.').exactOptional(),
  serverName: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,253}$/, 'must be a host name')
    .describe("Name the certificate must have, and SNI; by default the URL's host.")
    .exactOptional(),
  insecure: z.boolean().describe('Accept any certificate.').exactOptional(),
}).superRefine((tls, context) => {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    context.addIssue({ code: 'custom', message: 'needs both "cert" and "key", or neither' });
  }
});

/** Keys of a connection that come with later versions. */
const LATER_CONNECTION = ['command', 'args', 'env', 'cwd', 'openapi', 'identity', 'allowPrivateNetwork', 'transport'];

const connectionShape = {
  url: url({ query: true })
    .superRefine((text, context) => {
      const [name] = secretParameters(text);
      if (name === undefined) return;
      const message = `must not carry the secret "${name}": URLs are shown. Take it out and use auth: { type: api_key, query: ${name}, value: … }`;
      context.addIssue({ code: 'custom', message });
    })
    .describe('MCP endpoint of the upstream, http or https. No secret in its query: that is what "auth" is for.'),
  enabled: z.boolean().default(true).describe('false keeps the connection without using it.'),
  description: description.exactOptional(),
  auth: authSchema.default({ type: 'none' }),
  headers: headers.default({}).describe('Headers added to every request to the upstream.'),
  forward: z
    .array(checked(forwardedHeaderFault))
    .transform((names) => [...new Set(names.map((name) => name.toLowerCase()))])
    .default([])
    .describe("Names of the caller's request headers that may pass to the upstream."),
  session: z
    .enum(['auto', 'stateless', 'pooled'])
    .default('auto')
    .describe(
      'auto: a session per caller where the upstream has sessions. pooled: shared, only for servers without state per user.',
    ),
  timeout: duration(10, DAY).prefault('30s').describe('Limit for a whole call.'),
  refresh: duration(SECOND, DAY).prefault('60s').describe('How often the catalog is read again.'),
  limits: limits.default({}),
  tls: upstreamTls.exactOptional(),
};

type WrittenConnection = z.output<z.ZodObject<typeof connectionShape>>;

function readConnection({ timeout, refresh, ...rest }: WrittenConnection): ConnectionConfig {
  return { ...rest, timeoutMs: timeout, refreshMs: refresh };
}

/** One upstream. */
export const connectionSchema: z.ZodType<ConnectionConfig> = strict(connectionShape, LATER_CONNECTION).transform(
  readConnection,
);
