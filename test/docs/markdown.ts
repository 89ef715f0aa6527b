/** What the tests read out of the documentation: fenced blocks, tables, links. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.ts';

export interface Page {
  /** Path from the package's root. */
  readonly path: string;
  readonly text: string;
}

export interface Fence {
  readonly language: string;
  readonly text: string;
  readonly line: number;
}

export const page = (path: string): Page => ({ path, text: readFileSync(join(packageRoot, path), 'utf8') });

/** Every page that people read. */
export function allPages(): Page[] {
  const root = readdirSync(packageRoot).filter((name) => name.endsWith('.md'));
  const docs = readdirSync(join(packageRoot, 'docs'), { recursive: true, encoding: 'utf8' });
  const below = docs.filter((name) => name.endsWith('.md')).map((name) => join('docs', name));
  return [...root, ...below, 'envoy/README.md', 'helm/sallyport/README.md'].map(page);
}

export function fences({ text }: Page, ...languages: string[]): Fence[] {
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .map(({ 1: language = '', 2: inside = '', index }) => ({
      language,
      text: inside,
      line: text.slice(0, index).split('\n').length,
    }))
    .filter(({ language }) => languages.includes(language));
}

/** The part of a page under a heading. */
export function section({ path, text }: Page, heading: string): string {
  const [, rest] = text.split(`\n${heading}\n`);
  if (rest === undefined) throw new Error(`${path} has no "${heading}"`);
  return rest.split(/\n#{1,3} /)[0] as string;
}

/** Cells of every table row, headings and rulers left out. */
export function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'));
  return lines
    .map((line) => line.split('|').slice(1, -1))
    .filter(([first = '']) => !/^ *:?-+:? *$/.test(first))
    .map((cells) => cells.map((cell) => cell.trim()));
}

/** What stands in backticks. */
export const codes = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);

/** Links that lead to no other host, with their fragments. */
export const relativeLinks = ({ text }: Page): string[] =>
  [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target).filter((target) => !/^[a-z]+:/.test(target));

/** The fragments that a page's headings can be linked by, as GitHub makes them. */
export const anchors = ({ text }: Page): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

/** Text of all source files below some directories, as built or as written. */
export function sources(...directories: string[]): string {
  return directories
    .flatMap((directory) =>
      readdirSync(join(packageRoot, directory), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|js|mjs)$/.test(name))
        .map((name) => readFileSync(join(packageRoot, directory, name), 'utf8')),
    )
    .join('\n');
}
