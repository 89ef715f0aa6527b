/** A rule's query for Trino: compiled when it is saved, rendered with the values of each call. */
import { type Bound, type Compiled, type Rendered, type Template, ValueError } from '../source.ts';
import { type Placeholder, type ScannedStatement, scanStatement } from '../sql/scanner.ts';
import { listLiteral, literal } from './literal.ts';

/** Trino's default `query.max-length`, characters. */
const MAX_STATEMENT_LENGTH = 1_000_000;
/** Characters of a statement that people are shown. */
const MAX_SHOWN = 4000;

export interface TrinoRequest extends Rendered {
  readonly statement: string;
  /** Of the call: what is wrong may be wrong with them. */
  readonly hasValues: boolean;
}

export function compileTrino(query: string): Compiled {
  const scanned = scanStatement(query, 'trino');
  if ('faults' in scanned) {
    const faults = scanned.faults.map(({ line, column, message }) => ({
      path: 'source.query',
      message: `line ${line}, column ${column}: ${message}`,
    }));
    return { faults };
  }
  return { template: templateOf(scanned) };
}

function templateOf({ text, placeholders }: ScannedStatement): Template {
  const names = new Map<string, Placeholder['takes']>();
  for (const { name, takes } of placeholders) names.set(name, names.get(name) === 'one' ? 'one' : takes);
  return {
    names,
    mayWrite: false,
    render(values): TrinoRequest {
      let statement = '';
      let at = 0;
      for (const { name, takes, start, end } of placeholders) {
        const value = values.get(name) as Bound | undefined;
        if (value === undefined) throw new ValueError(`:${name} is not bound to anything`);
        statement += text.slice(at, start) + (takes === 'list' ? listLiteral(value, name) : literal(value, name));
        at = end;
      }
      statement += text.slice(at);
      if (statement.length > MAX_STATEMENT_LENGTH)
        throw new ValueError(
          `the statement has ${statement.length} characters with its values; Trino takes ${MAX_STATEMENT_LENGTH}`,
        );
      const shown = statement.length > MAX_SHOWN ? `${statement.slice(0, MAX_SHOWN)}…` : statement;
      return { shown, key: statement, statement, hasValues: placeholders.length > 0 };
    },
  };
}
