/** A configuration file from the disk to what the gateway takes: parsed, resolved, checked as a whole, without a gateway. */
import { readFileSync } from 'node:fs';
import type { ConfigDocument } from '../config/document.ts';
import type { ConfigProblem, ParsedFile } from '../config/file.ts';
import { inOrder, parseConfigFile, problemLine } from '../config/file.ts';
import { parseMcpServers } from '../config/mcp-servers.ts';
import type { Problem } from '../config/problems.ts';
import { pathSteps } from '../config/problems.ts';
import type { SecretSources } from '../config/resolve.ts';
import { resolveDocument } from '../config/resolve.ts';
import { DEFAULT_SETTINGS } from '../config/schema.ts';
import type { Written } from '../config/written.ts';
import { writtenDocument } from '../config/written.ts';
import { readYaml } from '../config/yaml-source.ts';
import { checkRevision } from '../snapshot/check.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';
import { CommandFailed } from './failure.ts';

export interface LoadedFile {
  /** With references resolved; absent where there are problems. */
  readonly document: ConfigDocument | undefined;
  readonly problems: readonly { readonly problem: ConfigProblem; readonly line: string }[];
  /** What is not wrong with the file but with where it is read: variables and files that are not here. */
  readonly notes: readonly { readonly text: string; readonly blocks: boolean }[];
  /** `FILE:LINE:COLUMN: path: message` of a problem that names a path. */
  place(problem: Problem): string;
}

/** Reads a file (`-`: standard input) and finds whatever can be found wrong with it alone. */
export function loadFile(file: string, env: SecretSources['env']): LoadedFile {
  const text = readText(file);
  const shown = file === '-' ? 'stdin' : file;
  const locate = ({ path, message }: Problem): ConfigProblem => {
    const source = readYaml(text, env);
    return source.place({ steps: stepsInFile(pathSteps(path), source.content), message, atKey: false });
  };
  const place = (problem: Problem) => problemLine(shown, locate(problem));
  const result = (problems: readonly ConfigProblem[], notes: LoadedFile['notes'], document?: ConfigDocument) => ({
    document: problems.length === 0 ? document : undefined,
    problems: inOrder(problems).map((problem) => ({ problem, line: problemLine(shown, problem) })),
    notes,
    place,
  });

  const parsed = parseEither(text, file, env);
  if ('problems' in parsed) return result(parsed.problems, []);
  const resolved = resolveDocument(parsed.document, { env, readFile: (path) => readFileSync(path, 'utf8') });
  const document = 'value' in resolved ? resolved.value : parsed.document;
  const notes =
    'problems' in resolved ? resolved.problems.map((problem) => ({ text: place(problem), blocks: true })) : [];
  const certificates = 'value' in resolved;
  return result(checkAlone(document, certificates).map(locate), notes, document);
}

/** The gateway has rules by their names, a file has a list of them. */
function stepsInFile(steps: readonly (string | number)[], content: unknown): readonly (string | number)[] {
  const [section, name, ...rest] = steps;
  const list = (content as { enrichment?: unknown } | null | undefined)?.enrichment;
  if (section !== 'rules' || !Array.isArray(list)) return steps;
  const index = list.findIndex((one) => (one as { name?: unknown } | null)?.name === name);
  return index < 0 ? steps : ['enrichment', index, ...rest];
}

/** What the admin API takes: the written shape with secrets as values beside their references. */
export function writtenForServer(document: ConfigDocument): Written {
  return writtenDocument(document);
}

function parseEither(text: string, file: string, env: SecretSources['env']): ParsedFile {
  const isClientFile = /^\s*(\/\/[^\n]*\s*|\/\*[\s\S]*?\*\/\s*)*\{\s*"mcpServers"/.test(text);
  return isClientFile ? parseMcpServers(text, file, env) : parseConfigFile(text, file, env);
}

/** The checks on a whole revision, on what this file has: names may also refer to what only the gateway knows. */
function checkAlone(document: ConfigDocument, certificates: boolean): Problem[] {
  const { connections = {}, namespaces = {}, personas = {}, settings = DEFAULT_SETTINGS } = document;
  const { sources = {}, rules = {} } = document;
  const revision: RevisionDocument = {
    settings,
    tenants: [
      {
        id: 'default',
        connections: Object.entries(connections).map(([name, config]) => ({
          id: name,
          name,
          config: certificates ? config : withoutTls(config),
          credentialId: null,
        })),
        namespaces: document.connections
          ? Object.entries(namespaces).map(([name, config]) => ({ name, ...config }))
          : [],
        personas: Object.entries(personas).map(([name, config]) => ({ name, ...config })),
        sources: Object.entries(sources).map(([name, config]) => ({
          id: name,
          name,
          config: certificates ? config : withoutTls(config),
          credentialId: null,
        })),
        rules: Object.entries(rules).map(([name, config]) => ({ id: name, name, version: 1, config })),
      },
    ],
  };
  const isElsewhere = ({ path }: Problem) => !document.sources && /^rules\..*\.source\.use$/.test(path);
  return checkRevision(revision).filter((problem) => !isElsewhere(problem));
}

/** Whatever has `tls` can do without. */
function withoutTls<T extends object>(config: T): T {
  const { tls: _, ...rest } = config as T & { readonly tls?: unknown };
  return rest as unknown as T;
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandFailed(
      code === 'ENOENT' ? `There is no file ${file}.` : `Cannot read ${file}: ${code ?? 'failed'}.`,
    );
  }
}
