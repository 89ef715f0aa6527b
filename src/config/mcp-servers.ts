/**
 * `{"mcpServers": {…}}` files as MCP clients keep them (JSON, comments allowed) → connections. Their headers carry
 * secrets more often than not, so all of them are treated as secrets. Keys that only concern a client are ignored.
 */
import { dirname, resolve } from 'node:path';
import { connectionSchema } from './connection-schema.ts';
import type { ConnectionConfig } from './document.ts';
import type { ParsedFile } from './file.ts';
import { anchorRow, inOrder, templateReference } from './file.ts';
import { NOT_YET, nearest } from './keys.ts';
import { connectionNameFault, headerNameFault, isSecretHeader, secretParameters } from './names.ts';
import type { PlacedProblem } from './problems.ts';
import { validate } from './problems.ts';
import type { YamlSource } from './yaml-source.ts';
import { readYaml } from './yaml-source.ts';

const ROOT = 'mcpServers';
const HTTP_TYPES = ['http', 'streamable-http', 'streamableHttp', 'streamable_http'];
/** What an entry may say; the rest (`alwaysAllow`, `autoApprove`, …) is between the client and its user. */
const KEYS = [
  'url',
  'serverUrl',
  'type',
  'transport',
  'headers',
  'command',
  'args',
  'env',
  'cwd',
  'disabled',
  'description',
];

/** Reads an `mcpServers` file; the same results as `parseConfigFile`. */
export function parseMcpServers(
  text: string,
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): ParsedFile {
  const source = readYaml(withoutComments(text), env);
  if (source.problems.length > 0) return { problems: inOrder(source.problems) };
  const servers = (source.content as Record<string, unknown> | null)?.[ROOT];
  if (typeof servers !== 'object' || servers === null || Array.isArray(servers)) {
    const message = `expected { "${ROOT}": { NAME: { "url": … } } }`;
    return { problems: [source.place({ steps: [], atKey: false, message })] };
  }
  const problems: PlacedProblem[] = [];
  const connections: Record<string, ConnectionConfig> = {};
  for (const [written, entry] of Object.entries(servers)) {
    const steps = [ROOT, written];
    const name = connectionName(written);
    const taken = Object.hasOwn(connections, name);
    const fault = taken ? `would be the second connection named "${name}"` : connectionNameFault(name);
    if (fault) problems.push({ steps, atKey: true, message: `${JSON.stringify(written)} ${fault}` });
    const result = readEntry(entry, steps, source, dirname(resolve(path)));
    if ('problems' in result) problems.push(...result.problems);
    else if (!fault) connections[name] = result.value;
  }
  if (problems.length > 0) return { problems: inOrder(problems.map(source.place)) };
  return { document: { connections } };
}

/** `My Server` becomes `My-Server`: clients allow any text, tool names do not. */
function connectionName(written: string): string {
  return written
    .trim()
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '-')
    .replaceAll(/_{2,}/g, '_');
}

type Steps = readonly string[];
type Entry = { readonly value: ConnectionConfig } | { readonly problems: readonly PlacedProblem[] };

function readEntry(entry: unknown, steps: Steps, source: YamlSource, directory: string): Entry {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    return { problems: [{ steps, atKey: false, message: 'must be a mapping with a "url"' }] };
  }
  const fields = entry as Record<string, unknown>;
  const refused = refusedTransport(fields, steps) ?? probableTypo(fields, steps);
  if (refused) return { problems: [refused] };
  const fromHeaders = readHeaders(fields.headers, steps, source);
  const { headers } = fromHeaders;
  const at = fields.url === undefined ? 'serverUrl' : 'url';
  // Beside another credential it stays, and is refused: a connection has one.
  const keyed = hasCredential(fromHeaders) ? undefined : readUrl(fields[at], source.template([...steps, at]));
  const auth = fromHeaders.auth ?? keyed?.auth;
  const written = {
    url: keyed?.url ?? fields[at],
    enabled: fields.disabled !== true,
    ...(typeof fields.description === 'string' && { description: fields.description }),
    ...(auth !== undefined && { auth }),
    headers,
  };
  const result = validate(connectionSchema, written);
  if ('problems' in result) {
    return { problems: result.problems.map((problem) => ({ ...problem, steps: [...steps, ...problem.steps] })) };
  }
  return { value: anchorRow(result.value, source, steps, directory) };
}

function refusedTransport(fields: Record<string, unknown>, steps: Steps): PlacedProblem | undefined {
  const type = fields.type ?? fields.transport;
  const key = fields.type === undefined ? 'transport' : 'type';
  if (fields.command !== undefined || type === 'stdio') {
    const at = fields.command === undefined ? key : 'command';
    return { steps: [...steps, at], atKey: true, message: `a server started by a command (stdio) ${NOT_YET}` };
  }
  if (type === 'sse') {
    return {
      steps: [...steps, key],
      atKey: false,
      message: `the HTTP+SSE transport ${NOT_YET}: use the server's streamable HTTP URL`,
    };
  }
  if (type !== undefined && !HTTP_TYPES.includes(type as string)) {
    return { steps: [...steps, key], atKey: false, message: 'must be "http"' };
  }
  return undefined;
}

function probableTypo(fields: Record<string, unknown>, steps: Steps): PlacedProblem | undefined {
  for (const key of Object.keys(fields)) {
    const near = KEYS.includes(key) ? undefined : nearest(key, ['url', 'headers', 'command']);
    if (near && fields[near] === undefined) {
      return { steps: [...steps, key], atKey: true, message: `unknown key "${key}": did you mean "${near}"?` };
    }
  }
  return undefined;
}

/** `Authorization: Bearer X` is authentication; what the gateway writes itself (Accept, Content-Type) is dropped. */
function readHeaders(headers: unknown, steps: Steps, source: YamlSource): { auth?: unknown; headers: unknown } {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return { headers: headers ?? {} };
  let auth: unknown;
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(headers)) {
    const template = source.template([...steps, 'headers', name]);
    const bearer = /^Bearer +(\S.*)$/i.exec(template ?? (typeof value === 'string' ? value : ''))?.[1];
    if (name.toLowerCase() === 'authorization' && bearer) {
      auth = { type: 'bearer', token: template === undefined ? bearer : resolvable(bearer, String(value)) };
    } else if (!headerNameFault(name)?.includes('set by the gateway')) {
      kept[name] = typeof value === 'string' && value !== '' && template === undefined ? { value } : value;
    }
  }
  return { ...(auth !== undefined && { auth }), headers: kept };
}

const hasCredential = ({ auth, headers }: { auth?: unknown; headers: unknown }): boolean =>
  auth !== undefined || Object.keys(headers as object).some(isSecretHeader);

/** `?apiKey=X` as the only credential is authentication as well: a URL is shown, a secret is not. */
function readUrl(url: unknown, template: string | undefined): { url: string; auth: unknown } | undefined {
  if (typeof url !== 'string') return undefined;
  const [name, another] = secretParameters(url);
  if (name === undefined || another !== undefined) return undefined;
  const { rest, values } = withoutParameter(url, name);
  const [value] = values;
  if (value === undefined || value === '' || values.length > 1) return undefined;
  const [written] = template === undefined ? [] : withoutParameter(template, name).values;
  const ref = written?.includes('${') ? templateReference(written) : undefined;
  return { url: rest, auth: { type: 'api_key', query: name, value: { value, ...(ref && { ref }) } } };
}

/** A URL without one of its parameters, the others as they were written; and what that one said. */
function withoutParameter(url: string, name: string): { rest: string; values: string[] } {
  const [path = '', query = ''] = splitAt(url, '?');
  const isIt = (pair: string) => new URLSearchParams(pair).has(name);
  const kept = query.split('&').filter((pair) => !isIt(pair));
  const values = query
    .split('&')
    .filter(isIt)
    .map((pair) => new URLSearchParams(pair).get(name) ?? '');
  return { rest: kept.length === 0 ? path : `${path}?${kept.join('&')}`, values };
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** A bearer token with references inside: its value is known, and where it came from too. */
function resolvable(template: string, header: string): unknown {
  const reference = templateReference(template);
  return { value: header.replace(/^Bearer +/i, ''), ref: reference };
}

/** Blanks out comments, so that every offset stays what it was. */
function withoutComments(text: string): string {
  return text.replaceAll(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (token) =>
    token.startsWith('"') ? token : token.replaceAll(/[^\n]/g, ' '),
  );
}
