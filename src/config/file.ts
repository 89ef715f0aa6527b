/**
 * `sallyport.yaml` → a document, or every problem with its line and column. Paths inside are taken relative to the
 * file's directory. Secrets stay references; `resolveDocument` in `resolve.ts` turns them into values.
 */
import { dirname, resolve } from 'node:path';
import type { ConfigDocument, SecretInput, SettingsConfig, UpstreamTlsConfig } from './document.ts';
import { NOT_YET } from './keys.ts';
import { validate } from './problems.ts';
import { configFileSchema } from './schema.ts';
import { mapSecrets, pointerSteps, type WithSecrets } from './secrets.ts';
import type { ConfigProblem, YamlSource } from './yaml-source.ts';
import { readYaml } from './yaml-source.ts';

export type { ConfigProblem };

export type ParsedFile = { readonly document: ConfigDocument } | { readonly problems: readonly ConfigProblem[] };

/** Reads the text of a configuration file; `path` is where it came from, `env` what `${NAME}` refers to. */
export function parseConfigFile(
  text: string,
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): ParsedFile {
  const source = readYaml(text, env);
  if (source.content === undefined) return { problems: source.problems };
  const foreign = foreignKind(source);
  if (foreign) return { problems: [foreign] };
  const result = validate(configFileSchema, source.content ?? {});
  if ('problems' in result || source.problems.length > 0) {
    const found = 'problems' in result ? result.problems.map(source.place) : [];
    return { problems: inOrder([...source.problems, ...found.filter((one) => !isEcho(one, source.problems))]) };
  }
  return { document: anchor(result.value, source, dirname(resolve(path))) };
}

/** Text whose variable is not set is no URL either: what the reader found says enough. */
function isEcho(problem: ConfigProblem, earlier: readonly ConfigProblem[]): boolean {
  return earlier.some(({ path }) => path !== '' && path === problem.path);
}

/** First things first. */
export function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** `config.yaml:3:5: connections.crm.url: must be …`, as compilers print it. */
export function problemLine(file: string, { line, column, path, message }: ConfigProblem): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

function foreignKind(source: YamlSource): ConfigProblem | undefined {
  const content = source.content as { kind?: unknown; mcpServers?: unknown } | null;
  if (typeof content !== 'object' || content === null) return undefined;
  if (content.kind === 'MCPRoute') {
    return source.place({ steps: ['kind'], atKey: false, message: `an Envoy AI Gateway MCPRoute ${NOT_YET}` });
  }
  if (content.mcpServers !== undefined) {
    const message = 'this is an mcpServers file: pass it with --mcp-config instead of --config';
    return source.place({ steps: ['mcpServers'], atKey: true, message });
  }
  return undefined;
}

/** Makes a document independent of the file: references kept as references, paths absolute. */
function anchor(document: ConfigDocument, source: YamlSource, directory: string): ConfigDocument {
  const { settings, connections, sources, apiKeys } = document;
  const anchorAll = <T extends WithSecrets>(section: string, rows: Readonly<Record<string, T>>) =>
    Object.fromEntries(
      Object.entries(rows).map(([name, one]) => [name, anchorRow(one, source, [section, name], directory)]),
    );
  return {
    ...document,
    ...(settings && { settings: anchorListener(settings, directory) }),
    ...(connections && { connections: anchorAll('connections', connections) }),
    ...(sources && { sources: anchorAll('sources', sources) }),
    ...(apiKeys && {
      apiKeys: apiKeys.map((entry, i) => ({
        ...entry,
        key: anchorSecret(entry.key, source.template(['identity', 'apiKeys', i, 'key']), directory),
      })),
    }),
  };
}

/** Of a connection or a source; also used for connections that come from an `mcpServers` file. */
export function anchorRow<T extends WithSecrets>(
  row: T,
  source: Pick<YamlSource, 'template'>,
  steps: readonly (string | number)[],
  directory: string,
): T {
  const anchored = (secret: SecretInput, at: readonly string[]) =>
    anchorSecret(secret, source.template([...steps, ...at]), directory);
  const { headers, tls } = row as { headers?: Readonly<Record<string, SecretInput>>; tls?: UpstreamTlsConfig };
  const entries = Object.entries(headers ?? {}).map(([name, value]) => [name, anchored(value, ['headers', name])]);
  const absolute = {
    ...row,
    ...(headers && { headers: Object.fromEntries(entries) }),
    ...(tls && { tls: anchorTls(tls, directory) }),
  };
  return mapSecrets(absolute, (secret, pointer) => anchored(secret, pointerSteps(pointer)));
}

/** `${NAME}` alone is the same as `{ env: NAME }`; inside other text it stays a template. */
function anchorSecret(secret: SecretInput, template: string | undefined, directory: string): SecretInput {
  if (typeof secret === 'string') return template === undefined ? secret : templateReference(template);
  if ('file' in secret) return { file: resolve(directory, secret.file) };
  return secret;
}

/** The reference that a text with `${…}` in it amounts to. */
export function templateReference(template: string): SecretInput {
  const whole = /^\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(template)?.[1];
  return whole === undefined ? { template } : { env: whole };
}

const isPem = (text: string): boolean => text.includes('-----BEGIN ');

function anchorTls(tls: UpstreamTlsConfig, directory: string): UpstreamTlsConfig {
  const path = (text: string): string => (isPem(text) ? text : resolve(directory, text));
  const { ca, cert, key } = tls;
  return {
    ...tls,
    ...(ca !== undefined && { ca: path(ca) }),
    ...(cert !== undefined && { cert: path(cert) }),
    ...(typeof key === 'string' && !isPem(key) && { key: { file: resolve(directory, key) } }),
  };
}

function anchorListener(settings: SettingsConfig, directory: string): SettingsConfig {
  const { tls } = settings.listener;
  if (!tls) return settings;
  const absolute = {
    cert: resolve(directory, tls.cert),
    key: resolve(directory, tls.key),
    ...(tls.clientCa !== undefined && { clientCa: resolve(directory, tls.clientCa) }),
  };
  return { ...settings, listener: { tls: absolute } };
}
