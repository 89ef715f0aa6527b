/** YAML text as a tree that remembers where everything stands, with `${NAME}` filled in. */
import type { Document, Node, Pair, Scalar, YAMLError, YAMLMap } from 'yaml';
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { PlacedProblem, Problem } from './problems.ts';
import { pathText } from './problems.ts';
import { expandTemplate, SecretError } from './resolve.ts';

/** A problem in a file, at its line and column (both from 1). */
export interface ConfigProblem extends Problem {
  readonly line: number;
  readonly column: number;
}

type Steps = readonly (string | number)[];

export interface YamlSource {
  /** Wrong before any schema is asked: syntax, duplicate keys, references to variables that are not set. */
  readonly problems: readonly ConfigProblem[];
  /** The content as plain JavaScript; `undefined` where the syntax leaves nothing to look at. */
  readonly content: unknown;
  /** Finds the line and column of a problem. */
  place(problem: PlacedProblem): ConfigProblem;
  /** The text at a path as it was written, if it held references that were filled in. */
  template(steps: Steps): string | undefined;
}

/** Parses one YAML (or JSON) document; `env` is what `${NAME}` refers to. */
export function readYaml(text: string, env: Readonly<Record<string, string | undefined>>): YamlSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true, logLevel: 'error' });
  const at = (offset: number, steps: Steps, message: string): ConfigProblem => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1), path: pathText(steps), message };
  };
  const problems = [...document.errors, ...document.warnings].map((e) => at(e.pos[0], [], syntaxSentence(e, text)));
  const templates = new Map<Scalar, string>();
  const findings = walkScalars(document, env, templates);
  const broken =
    document.errors.some((error) => error.code !== 'DUPLICATE_KEY') || findings.some(({ isBroken }) => isBroken);
  problems.push(...findings.map(({ offset, steps, message }) => at(offset, steps, message)));
  return {
    problems,
    content: broken ? undefined : plain(document, (message) => problems.push(at(0, [], message))),
    place: ({ steps, atKey, message }) => at(offsetOf(document, steps, atKey), steps, message),
    template: (steps) => {
      const node = find(document, steps).node;
      return isScalar(node) ? templates.get(node) : undefined;
    },
  };
}

function plain(document: Document, failed: (message: string) => void): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    failed(`the file cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}

interface Finding {
  readonly offset: number;
  readonly steps: Steps;
  readonly message: string;
  /** Nothing can be read from the tree. */
  readonly isBroken: boolean;
}

/** Fills in references, and finds what the parser lets pass: aliases to nothing and keys that are not names. */
function walkScalars(
  document: Document,
  env: Readonly<Record<string, string | undefined>>,
  templates: Map<Scalar, string>,
): Finding[] {
  const findings: Finding[] = [];
  visit(document, {
    Pair(_, pair) {
      if (isScalar(pair.key)) return undefined;
      const offset = (pair.key as Node | null)?.range?.[0] ?? 0;
      findings.push({ offset, steps: [], message: 'a key must be a plain name', isBroken: true });
      return visit.SKIP;
    },
    Alias(_, alias) {
      if (alias.resolve(document)) return;
      findings.push({
        offset: alias.range?.[0] ?? 0,
        steps: [],
        message: `*${alias.source} refers to an anchor that does not exist`,
        isBroken: true,
      });
    },
    Scalar(key, scalar, path) {
      if (key === 'key' || typeof scalar.value !== 'string' || !scalar.value.includes('${')) return;
      const written = scalar.value;
      try {
        scalar.value = expandTemplate(written, (name) => variable(name, env));
        if (written.replaceAll('$${', '').includes('${')) templates.set(scalar, written);
      } catch (error) {
        if (!(error instanceof SecretError)) throw error;
        findings.push({
          offset: scalar.range?.[0] ?? 0,
          steps: stepsOf(path, scalar),
          message: error.message,
          isBroken: false,
        });
      }
    },
  });
  return findings;
}

function variable(name: string, env: Readonly<Record<string, string | undefined>>): string {
  const value = env[name];
  if (value === undefined) throw new SecretError(`environment variable ${name} is not set`);
  return value;
}

/** The path of a scalar, from the ancestors that a visitor is given. */
function stepsOf(ancestors: readonly unknown[], scalar: Scalar): Steps {
  const steps: (string | number)[] = [];
  for (const [i, node] of ancestors.entries()) {
    if (isPair(node)) steps.push(keyText(node));
    if (isSeq(node)) steps.push(node.items.indexOf(ancestors[i + 1] ?? scalar));
  }
  return steps;
}

/** As written: the value of a merge key (`<<`) is a symbol. */
const keyText = (pair: Pair): string =>
  isScalar(pair.key) && typeof pair.key.value !== 'symbol' ? String(pair.key.value) : '<<';

function offsetOf(document: Document, steps: Steps, atKey: boolean): number {
  const { node, pair, found } = find(document, steps);
  const key = (pair?.key as Node | undefined)?.range?.[0];
  if (atKey || !found || !node?.range) return key ?? node?.range?.[0] ?? 0;
  return node.range[0];
}

interface Place {
  /** The node at the path, or the nearest one above it. */
  readonly node: Node | undefined;
  /** The nearest pair that leads to it. */
  readonly pair: Pair | undefined;
  readonly found: boolean;
}

/** Walks down as far as the tree goes; header names are looked up without regard to case. */
function find(document: Document, steps: Steps): Place {
  let node = resolved(document, document.contents);
  let pair: Pair | undefined;
  for (const step of steps) {
    if (isMap(node)) {
      const next = pairOf(document, node, String(step));
      if (!next) return { node, pair, found: false };
      pair = next;
      node = resolved(document, next.value);
    } else if (isSeq(node) && typeof step === 'number') {
      const item = resolved(document, node.items[step]);
      if (!item) return { node, pair, found: false };
      node = item;
      pair = undefined;
    } else {
      return { node, pair, found: false };
    }
  }
  return { node, pair, found: true };
}

function pairOf(document: Document, map: YAMLMap, key: string): Pair | undefined {
  // Of a key that is there twice, the last is what the content has.
  const exact = map.items.findLast((pair) => keyText(pair) === key);
  if (exact) return exact;
  const merged = map.items.find((pair) => keyText(pair) === '<<');
  const base = merged && resolved(document, merged.value);
  if (isMap(base)) return pairOf(document, base, key);
  return map.items.find((pair) => keyText(pair).toLowerCase() === key.toLowerCase());
}

function resolved(document: Document, node: unknown): Node | undefined {
  if (isAlias(node)) return node.resolve(document);
  return (node ?? undefined) as Node | undefined;
}

/** The parser's errors, in words for those who do not know YAML's grammar. */
function syntaxSentence(error: YAMLError, text: string): string {
  switch (error.code) {
    case 'DUPLICATE_KEY':
      return `key ${JSON.stringify(/^["']?([^\s"':]*)/.exec(text.slice(error.pos[0]))?.[1] ?? '')} is there twice`;
    case 'MULTIPLE_DOCS':
      return 'a second document begins here (---): one file holds one configuration';
    case 'TAB_AS_INDENT':
      return 'indentation must be spaces, not tabs';
    case 'BLOCK_AS_IMPLICIT_KEY':
      return 'wrong indentation, or a value with ": " inside that needs quotes';
    default:
      return error.message.replace(/^./, (first) => first.toLowerCase());
  }
}
