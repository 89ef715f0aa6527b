/** A rule's query, compiled when it is saved: what both dialects of SQL have in common. */
import type { Compiled, Template } from '../source.ts';
import { faultText, type SqlFault } from './fault.ts';
import { type Dialect, type ScannedStatement, scanStatement } from './scanner.ts';

export interface SqlKind {
  readonly dialect: Dialect;
  /** What else a statement that the scanner accepted must not do. */
  readonly findFault?: (text: string) => SqlFault | undefined;
  readonly renderer: (statement: ScannedStatement, names: Template['names']) => Template['render'];
}

export function compileSql(query: string, { dialect, findFault, renderer }: SqlKind): Compiled {
  const scanned = scanStatement(query, dialect);
  if ('faults' in scanned) return refused(scanned.faults);
  const fault = findFault?.(scanned.text);
  if (fault !== undefined) return refused([fault]);
  const names = new Map<string, 'one' | 'list'>();
  for (const { name, takes } of scanned.placeholders) {
    // Where it also stands for one value, it is one everywhere.
    if (names.get(name) !== 'one') names.set(name, takes);
  }
  return { template: { names, mayWrite: false, render: renderer(scanned, names) } };
}

function refused(faults: readonly SqlFault[]): Compiled {
  return { faults: faults.map((fault) => ({ path: 'source.query', message: faultText(fault) })) };
}
