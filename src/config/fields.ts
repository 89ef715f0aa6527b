/** Building blocks of the schemas: fields that accept what people write and refuse with a sentence. */
import { z } from 'zod';
import type { SecretInput } from './document.ts';
import { DURATION_PATTERN, formatDuration, parseDuration, parseSize, SIZE_PATTERN } from './duration.ts';
import { unknownKeySentence } from './keys.ts';
import { patternFault, uriPatternFault } from './names.ts';

/** An object without unknown keys. `later`: keys that are designed and not yet built. */
export function strict<S extends z.core.$ZodLooseShape>(shape: S, later: readonly string[] = []) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownKeySentence(key, known, later)).join('\n')
        : undefined,
  });
}

/** Text that passes a check of `names.ts`; the sentence begins with the text itself, quoted. */
export function checked(fault: (text: string) => string | undefined) {
  return z.string().superRefine((text, context) => {
    const problem = fault(text);
    if (problem) context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} ${problem}` });
  });
}

/** A duration between two bounds (milliseconds), written `30s`; the value is milliseconds. */
export function duration(minimum: number, maximum: number) {
  return z
    .string({
      error: (issue) =>
        issue.input === undefined ? undefined : 'must be a duration such as 800ms, 30s, 2m, 1h or 90d',
    })
    .regex(DURATION_PATTERN, 'must be a duration such as 800ms, 30s, 2m, 1h or 90d')
    .transform((text, context) => {
      const ms = parseDuration(text) ?? 0;
      if (ms < minimum || ms > maximum) {
        const message = `must be between ${formatDuration(minimum)} and ${formatDuration(maximum)}`;
        context.addIssue({ code: 'custom', message });
      }
      return ms;
    });
}

/** A size between two bounds (bytes), written as a number or `4MiB`. */
export function size(minimum: number, maximum: number) {
  const written = z.union([z.int(), z.string().regex(SIZE_PATTERN)], {
    error: 'must be a number of bytes, or a size such as 64KiB or 4MiB',
  });
  return written.transform((input, context) => {
    const bytes = typeof input === 'number' ? input : (parseSize(input) ?? 0);
    if (bytes < minimum || bytes > maximum) {
      context.addIssue({ code: 'custom', message: `must be between ${minimum} and ${maximum} bytes` });
    }
    return bytes;
  });
}

const reference = z.union([
  strict({ env: z.string().min(1) }),
  strict({ file: z.string().min(1) }),
  strict({ template: z.string().min(1) }),
]);

/** The form in which a secret travels in API bodies; left out of the JSON Schema for editors. */
export const resolvedSecret = strict({ value: z.string().min(1), ref: reference.exactOptional() });

/** A secret: text, `{ env: NAME }`, `{ file: PATH }`. */
export const secret: z.ZodType<SecretInput> = z
  .union(
    [
      z.string().min(1),
      strict({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable') }),
      strict({ file: z.string().min(1) }),
      resolvedSecret,
    ],
    {
      error: (issue) =>
        issue.input === undefined ? 'is required' : 'must be a string, { env: NAME } or { file: PATH }',
    },
  )
  .describe('The secret itself, { env: NAME } for an environment variable, or { file: PATH } for a file.');

/** Patterns over names. */
export const patterns = z.array(checked(patternFault));
export const uriPatterns = z.array(checked(uriPatternFault));

/** A role: whatever an issuer may say, but one word. */
export const role = z.string().regex(/^[^\s\p{Cc}]{1,128}$/u, 'must be one word of at most 128 characters');

/** Free text for people. */
export const description = z.string().max(1000);

/** An http or https URL as an operator writes it. */
export function url(options: { readonly query: boolean }) {
  return z.string().superRefine((text, context) => {
    const message = urlFault(text, options.query);
    if (message) context.addIssue({ code: 'custom', message });
  });
}

function urlFault(text: string, query: boolean): string | undefined {
  if (!URL.canParse(text) || /[\s\p{Cc}]/u.test(text)) return 'must be a URL such as https://mcp.example.com/mcp';
  const parsed = new URL(text);
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') return 'must begin with http:// or https://';
  if (!/^https?:\/\//i.test(text)) return 'must begin with http:// or https://';
  if (parsed.username !== '' || parsed.password !== '') return 'must not contain a user or password: use "auth"';
  if (parsed.hash !== '' || text.endsWith('#')) return 'must not contain a fragment (#…)';
  if (!query && parsed.search !== '') return 'must not contain a query (?…)';
  if (parsed.port === '0') return 'must not name port 0';
  return undefined;
}

/** `scheme://host[:port]`, as browsers send it in `Origin`. */
export const origin = z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text, {
  error: 'must be an origin such as https://app.example.com: scheme, host and port only',
});

const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** An ISO date (its first moment, UTC) or a date-time with its offset. */
export const date = z.string().refine(isDate, {
  error: 'must be a date such as 2027-01-31 or 2027-01-31T12:00:00Z',
});

function isDate(text: string): boolean {
  const match = DATE.exec(text);
  if (!match || Number.isNaN(Date.parse(text))) return false;
  const days = new Date(Date.UTC(Number(match[1]), Number(match[2]), 0)).getUTCDate();
  return Number(match[3]) <= days;
}
