/** One source of what rules add, as people write it: see `schema.ts`. */
import { z } from 'zod';
import { headerSecret, headers, secretText } from './connection-schema.ts';
import type { SourceConfig } from './document.ts';
import { description, duration, strict, url } from './fields.ts';
import { isLoopback, passwordFault, postgresUrlFault } from './names.ts';

const HOUR = 3_600_000;

/** What every kind has besides its own keys. */
const common = {
  enabled: z.boolean().default(true).describe('false keeps the source; rules that use it add nothing.'),
  description: description.exactOptional(),
  maxConcurrent: z.int().min(1).max(1000).default(8).describe('Requests in flight at most, per process; more wait.'),
  circuitBreaker: strict({
    consecutiveErrors: z.int().min(1).max(1000).default(5),
    openFor: duration(100, HOUR).prefault('10s'),
  })
    .prefault({})
    .transform(({ consecutiveErrors, openFor }) => ({ consecutiveErrors, openForMs: openFor }))
    .describe('After so many errors in a row the source is left alone for a while.'),
};

const tls = strict({
  ca: z.string().min(1).describe('PEM, or its path: trusted instead of the public roots.').exactOptional(),
  insecure: z.boolean().describe('Accept any certificate.').exactOptional(),
});

const plainText = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !/\p{Cc}/u.test(text), 'must not contain line breaks or control characters');

const trino = strict({
  type: z.literal('trino'),
  url: url({ query: false }).describe('Of the coordinator, http or https.'),
  user: plainText,
  password: secretText(passwordFault).describe('Basic authentication; https only.').exactOptional(),
  token: headerSecret.describe('A JWT or OAuth access token; https only.').exactOptional(),
  catalog: plainText.exactOptional(),
  schema: plainText.exactOptional(),
  session: z
    .record(
      z.string().regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?$/, 'must be the name of a session property'),
      z
        .union([plainText, z.number(), z.boolean()], { error: 'must be text, a number, true or false' })
        .transform(String),
    )
    .default({})
    .describe('Session properties: name or catalog.name.'),
  tls: tls.exactOptional(),
  ...common,
}).superRefine((source, context) => {
  const secrets = (['password', 'token'] as const).filter((key) => source[key] !== undefined);
  const [first, second] = secrets;
  if (first === undefined) return;
  if (second !== undefined) {
    context.addIssue({ code: 'custom', path: [second], message: `has no place beside "${first}": write one of them` });
  }
  if (source.url.startsWith('http:') && !isLoopback(source.url)) {
    const message = `must not travel in the clear: use an https:// URL, or leave "${first}" out`;
    context.addIssue({ code: 'custom', path: [first], message });
  }
  if (first === 'password' && source.user.includes(':')) {
    context.addIssue({ code: 'custom', path: ['user'], message: 'must not contain ":" where there is a password' });
  }
});

const postgres = strict({
  type: z.literal('postgres'),
  url: secretText(postgresUrlFault).describe('postgres://user:password@host:port/database, a secret as a whole.'),
  tls: tls.exactOptional(),
  ...common,
});

const datahub = strict({
  type: z.literal('datahub'),
  url: url({ query: false }).describe('Of the metadata service (GMS), http or https.'),
  token: headerSecret.describe('A personal access token.').exactOptional(),
  ...common,
});

const http = strict({
  type: z.literal('http'),
  url: url({ query: false }).describe("Base URL: a rule's path is appended, and nothing outside of it can be reached."),
  headers: headers.default({}).describe('Headers added to every request.'),
  ...common,
});

const TYPES = ['trino', 'postgres', 'datahub', 'http'];

/** One source. */
export const sourceSchema: z.ZodType<SourceConfig> = z.discriminatedUnion('type', [trino, postgres, datahub, http], {
  error: (issue) => {
    if (issue.code !== 'invalid_union') return undefined;
    const type = (issue.input as { type?: unknown } | null | undefined)?.type;
    return type === undefined ? 'is required' : `must be one of ${TYPES.join(', ')}`;
  },
});
