/** A rule's query for Trino: compiled when it is saved, rendered with the values of each call. */
import { shownText } from '../shown-text.ts';
import { type Bound, type Compiled, type Rendered, ValueError } from '../source.ts';
import { compileSql } from '../sql/compile.ts';
import type { ScannedStatement } from '../sql/scanner.ts';
import { listLiteral, literal } from './literal.ts';

/** Trino's default `query.max-length`, characters. */
const MAX_STATEMENT_LENGTH = 1_000_000;

export interface TrinoRequest extends Rendered {
  readonly statement: string;
  /** Of the call: what is wrong may be wrong with them. */
  readonly hasValues: boolean;
}

export function compileTrino(query: string): Compiled {
  return compileSql(query, {
    dialect: 'trino',
    renderer: (statement) => (values) => render(statement, values),
  });
}

function render({ text, placeholders }: ScannedStatement, values: ReadonlyMap<string, Bound>): TrinoRequest {
  let statement = '';
  let at = 0;
  for (const { name, takes, start, end } of placeholders) {
    const value = values.get(name);
    if (value === undefined) throw new ValueError(`:${name} is not bound to anything`);
    statement += text.slice(at, start) + (takes === 'list' ? listLiteral(value, name) : literal(value, name));
    at = end;
  }
  statement += text.slice(at);
  if (statement.length > MAX_STATEMENT_LENGTH)
    throw new ValueError(
      `the statement has ${statement.length} characters with its values; Trino takes ${MAX_STATEMENT_LENGTH}`,
    );
  return { shown: shownText(statement), key: statement, statement, hasValues: placeholders.length > 0 };
}
