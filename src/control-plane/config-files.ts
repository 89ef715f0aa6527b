import { readFileSync } from 'node:fs';
import type { ConfigDocument } from '../config/document.ts';
import { type ParsedFile, parseConfigFile, problemLine } from '../config/file.ts';
import { parseMcpServers } from '../config/mcp-servers.ts';
import { resolveDocument } from '../config/resolve.ts';

/** Where the operator keeps the configuration. */
export interface ConfigFiles {
  /** `sallyport.yaml` */
  readonly config?: string | undefined;
  /** An `mcpServers` file; adds connections. */
  readonly mcpConfig?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Configuration files that cannot be used; one line for each problem, with file, line and column where there is one. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError';
  readonly lines: readonly string[];
  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

/** Reads the files into one document with every reference resolved. Throws `ConfigFileError` with all problems at once. */
export function readConfigFiles(files: ConfigFiles, env: Environment): ConfigDocument {
  const config = readOne(files.config, parseConfigFile, env);
  const servers = readOne(files.mcpConfig, parseMcpServers, env);
  const twice = Object.keys(servers.connections ?? {}).filter((name) => Object.hasOwn(config.connections ?? {}, name));
  if (twice.length > 0) {
    throw new ConfigFileError(
      twice.map(
        (name) => `${files.mcpConfig}: the connection "${name}" is in ${files.config} as well: keep one of them`,
      ),
    );
  }
  if (servers.connections === undefined) return config;
  return { ...config, connections: { ...config.connections, ...servers.connections } };
}

function readOne(
  path: string | undefined,
  parse: (text: string, path: string, env: Environment) => ParsedFile,
  env: Environment,
): ConfigDocument {
  if (path === undefined) return {};
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigFileError([
      `${path}: cannot be read (${(error as NodeJS.ErrnoException).code}): check the path and its permissions`,
    ]);
  }
  const parsed = parse(text, path, env);
  if ('problems' in parsed) throw new ConfigFileError(parsed.problems.map((problem) => problemLine(path, problem)));
  const resolved = resolveDocument(parsed.document, { env, readFile: (file) => readFileSync(file, 'utf8') });
  if ('value' in resolved) return resolved.value;
  throw new ConfigFileError(resolved.problems.map((problem) => `${path}: ${problem.path}: ${problem.message}`));
}
