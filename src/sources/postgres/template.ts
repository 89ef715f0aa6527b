/** A query whose values are bound parameters: no value is ever part of the statement. */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { ExactNumber, type Json, jsonText } from '../../mcp/exact-json.ts';
import { shownText } from '../shown-text.ts';
import { type Bound, type Compiled, type Rendered, ValueError } from '../source.ts';
import { compileSql } from '../sql/compile.ts';
import type { ScannedStatement } from '../sql/scanner.ts';
import { findEffect } from './effects.ts';

export interface PostgresRequest extends Rendered {
  /** With `$1`, `$2`, … where values go. */
  readonly text: string;
  /** As Postgres reads them, whatever their type turns out to be. */
  readonly values: readonly (string | null)[];
  /** The same for the same text, to prepare it under; undefined where the text varies with the values. */
  readonly name: string | undefined;
}

/** The protocol counts parameters in 16 bits. */
const MAX_VALUES = 10_000;

export function compilePostgres(query: string): Compiled {
  return compileSql(query, {
    dialect: 'postgres',
    findFault: findEffect,
    renderer(scanned, names) {
      const statement: Statement = {
        pieces: piecesOf(scanned),
        fixedName: [...names.values()].includes('list') ? undefined : nameOf(scanned.text),
      };
      return (values) => render(statement, values);
    },
  });
}

interface Statement {
  /** Text and values in turn. */
  readonly pieces: readonly (string | { readonly name: string; readonly takes: 'one' | 'list' })[];
  readonly fixedName: string | undefined;
}

function piecesOf({ text, placeholders }: ScannedStatement): Statement['pieces'] {
  const pieces: (string | { name: string; takes: 'one' | 'list' })[] = [];
  let at = 0;
  for (const { name, takes, start, end } of placeholders) {
    pieces.push(text.slice(at, start), { name, takes });
    at = end;
  }
  return [...pieces, text.slice(at)];
}

const nameOf = (text: string): string => `sp_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;

function render({ pieces, fixedName }: Statement, bound: ReadonlyMap<string, Bound>): PostgresRequest {
  const values: (string | null)[] = [];
  const parameters = new Map<string, { readonly text: string; readonly shown: string }>();
  const add = (name: string, value: Json | undefined): { text: string; shown: string } => {
    values.push(parameterOf(name, value));
    return { text: `$${values.length}`, shown: literalOf(value as Json) };
  };
  let text = '';
  let shown = '';
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      text += piece;
      shown += piece;
      continue;
    }
    // The same name is the same parameter, so that Postgres finds one type for it.
    let parameter = parameters.get(piece.name);
    if (parameter === undefined) {
      const value = bound.get(piece.name);
      parameter =
        piece.takes === 'list' && Array.isArray(value) ? list(piece.name, value, add) : add(piece.name, value as Json);
      parameters.set(piece.name, parameter);
    }
    text += parameter.text;
    shown += parameter.shown;
  }
  if (values.length > MAX_VALUES)
    throw new ValueError(`${values.length} values, and at most ${MAX_VALUES} can be bound`);
  return {
    shown: shownText(shown),
    key: JSON.stringify([text, values]),
    text,
    values,
    name: fixedName,
  };
}

function list(
  name: string,
  items: readonly Json[],
  add: (name: string, value: Json) => { text: string; shown: string },
): { text: string; shown: string } {
  if (items.length === 0) return { text: 'null', shown: 'null' };
  const parameters = items.map((item) => add(name, item));
  return {
    text: parameters.map(({ text }) => text).join(','),
    shown: parameters.map(({ shown }) => shown).join(', '),
  };
}

function parameterOf(name: string, value: Json | undefined): string | null {
  if (value === null) return null;
  if (value instanceof ExactNumber) return value.text;
  switch (typeof value) {
    case 'string':
      if (value.includes('\0')) throw new ValueError(`:${name} has a NUL character in it, which Postgres cannot hold`);
      if (/\p{Cs}/u.test(value)) throw new ValueError(`:${name} has half of a surrogate pair in it`);
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw new ValueError(`:${name} is not a finite number`);
      return String(value);
    case 'boolean':
      return String(value);
    case 'undefined':
      throw new ValueError(`:${name} has no value`);
    default:
      throw new ValueError(
        `:${name} takes a string, a number or a boolean, not an ${Array.isArray(value) ? 'array' : 'object'}`,
      );
  }
}

/** For people. What is sent is the parameter. */
const literalOf = (value: Json): string => (typeof value === 'string' ? pg.escapeLiteral(value) : jsonText(value));
