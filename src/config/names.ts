/**
 * What may be a name: of a connection, namespace, persona or key, and of a header that a connection sends or lets
 * through. Each function returns what is wrong as a sentence fragment that follows the name, or `undefined`.
 */
import { isTellingName, plainName } from './telling-names.ts';

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9])?$/;
const SHAPE = 'is not a valid name: use 1 to 40 letters, digits, "_", "-" or ".", with a letter or digit at both ends';

/** Connection names are the first half of a wire name `connection__tool`, hence no `__`. */
export function connectionNameFault(name: string): string | undefined {
  if (!NAME.test(name)) return SHAPE;
  if (name.includes('__')) return 'must not contain "__", which separates a connection from its tools';
  if (name.startsWith('sallyport')) return 'is reserved: names that begin with "sallyport" belong to the gateway';
  return undefined;
}

/** Path segments that mean something else at the MCP port. */
const RESERVED_NAMESPACES = new Set(['mcp', 't', 'oauth']);

/** Namespace names are a path segment: `/{namespace}/mcp`. */
export function namespaceNameFault(name: string): string | undefined {
  if (name !== name.toLowerCase()) return 'must be lower case: it is part of a URL';
  if (!NAME.test(name)) return SHAPE;
  if (RESERVED_NAMESPACES.has(name)) return 'is reserved: that path means something else';
  return undefined;
}

/** Personas, keys, sources and rules share one shape. */
export function plainNameFault(name: string): string | undefined {
  return NAME.test(name) ? undefined : SHAPE;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** RFC 9110 §7.6.1, and what Envoy or the gateway itself writes on every request. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const OURS = new Set(['host', 'content-length', 'content-type', 'content-encoding', 'accept', 'last-event-id']);
const OUR_PREFIXES = ['mcp-', 'x-sallyport-', 'x-envoy-'];

/** A header that the gateway adds to requests towards an upstream. */
export function headerNameFault(name: string): string | undefined {
  if (!TOKEN.test(name)) return 'is not a valid header name';
  const lower = name.toLowerCase();
  if (HOP_BY_HOP.has(lower)) return 'is a hop-by-hop header and cannot be set';
  if (OURS.has(lower) || OUR_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
    return 'is set by the gateway itself and cannot be configured';
  }
  return undefined;
}

/** A header of the caller that may pass: never one that says who the caller is. */
export function forwardedHeaderFault(name: string): string | undefined {
  // Proxies read `x_y` and `x-y` as the same header; Envoy drops what clients send with an underscore.
  if (name.includes('_')) return 'has an underscore, and such headers are dropped at the listener';
  const lower = name.toLowerCase();
  if (lower === 'authorization' || lower === 'cookie' || lower === 'mcp-session-id' || lower === 'last-event-id') {
    return 'is never forwarded: it belongs to the caller and the gateway, not to an upstream';
  }
  return headerNameFault(name)?.replace(/ and cannot be (set|configured)$/, ' and is never forwarded');
}

/**
 * Header values are printable ASCII and tabs: line breaks end a header, and what any other character becomes depends on
 * who reads it (RFC 9110 §5.5); HTTP clients refuse to send most of them.
 */
export function headerValueFault(value: string): string | undefined {
  const fault = passwordFault(value);
  if (fault !== undefined) return fault;
  if (/[^\t\x20-\x7e]/.test(value)) return 'must be printable ASCII: no other character can be sent in a header';
  return undefined;
}

/** A password is sent encoded (RFC 7617), so it may have any characters; control characters are slips. */
export function passwordFault(value: string): string | undefined {
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) return 'must not contain line breaks or control characters';
  if (value !== value.trim()) return 'must not begin or end with white space';
  return undefined;
}

/** Names of headers whose value is taken for a secret even when it is written out. */
export function isSecretHeader(name: string): boolean {
  return /auth|token|key|secret|cookie|passw|credential|signature/i.test(name);
}

/** What only a URL would call so: signed links, and the keys of large APIs. */
const TELLING_PARAMETERS = new Set(['key', 'sig', 'signature', 'subscriptionkey']);

/** Whether a query parameter of this name carries a secret. */
export function isSecretParameter(name: string): boolean {
  const plain = plainName(name);
  return isTellingName(plain) || TELLING_PARAMETERS.has(plain);
}

/** Query parameters of a URL that carry secrets: a URL is shown to whoever may see the connection. */
export function secretParameters(url: string): string[] {
  if (!URL.canParse(url)) return [];
  return [...new Set(new URL(url).searchParams.keys())].filter(isSecretParameter);
}

/** Patterns over names: `*` any run of characters, `?` one, and the characters of names. */
export function patternFault(pattern: string): string | undefined {
  if (pattern.startsWith('!')) return 'is not a pattern: to exclude something, list it under "deny"';
  return /^[A-Za-z0-9_./*?-]{1,200}$/.test(pattern) ? undefined : `is not a pattern: use ${WRITTEN_WITH}`;
}

const WRITTEN_WITH = 'letters, digits, "_", "-", ".", "/", with "*" for any run of characters and "?" for one';

/** The same over `connection__URI` too: whatever URIs (RFC 3986) and URI templates (RFC 6570) are made of. */
export function uriPatternFault(pattern: string): string | undefined {
  if (!pattern.includes(':') || pattern.startsWith('!')) return patternFault(pattern);
  return /^[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=%{}-]{1,1000}$/.test(pattern)
    ? undefined
    : `is not a pattern: use ${WRITTEN_WITH}, and for a URI what URIs are made of; "*" for what has to be percent-encoded`;
}

/** A name for a value, as it stands in templates: `:name`. */
export function valueNameFault(name: string): string | undefined {
  return /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)
    ? undefined
    : 'is not a name for a value: use letters, digits and "_", with no digit first';
}

/** Deeper than this nobody reads. */
const MOST_KEYS = 8;

/** Where a rule's rows go: keys joined by dots. */
export function mergePathFault(path: string): string | undefined {
  const keys = path.split('.');
  if (keys.length > MOST_KEYS) return `has ${keys.length} keys: at most ${MOST_KEYS} can be joined`;
  if (!keys.every((key) => /^[A-Za-z0-9_-]{1,100}$/.test(key))) {
    return 'is not a path: write keys of letters, digits, "_" and "-", joined by dots, such as enrichment.account';
  }
  const poison = keys.find((key) => key === '__proto__' || key === 'constructor' || key === 'prototype');
  return poison === undefined ? undefined : `has the key "${poison}", which is not a valid one`;
}

/** The URL of a database is a secret as a whole: what is wrong with it is said without quoting it. */
export function postgresUrlFault(text: string): string | undefined {
  const shape = 'must be a URL such as postgres://user:password@host:5432/database';
  if (/[\s\p{Cc}]/u.test(text) || !URL.canParse(text)) return shape;
  const { protocol, hostname, searchParams } = new URL(text);
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') return shape;
  return hostname === '' && !searchParams.has('host') ? `${shape}: it names no host` : undefined;
}

/** Whether what is sent to a URL stays on this machine. */
export function isLoopback(url: string): boolean {
  return URL.canParse(url) && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(url).hostname);
}
