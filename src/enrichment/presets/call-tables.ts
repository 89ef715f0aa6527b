/** Which tables a call is about: as its arguments and its response name them. */
import { isObject, type Json, type JsonObject } from '../../mcp/exact-json.ts';
import type { Root } from '../rule.ts';
import { tablesOfStatement } from './sql-tables.ts';
import { dotted, partsOf, resolve, type Scope, type TableName } from './table-name.ts';

/** Tables that are told of. */
export const MAX_TABLES = 20;
const MAX_DEPTH = 8;
/** Values looked at. A response may be large, and tables are named near its beginning. */
const MAX_VALUES = 20_000;
/** Characters of statements that are read: at most some 50 ms. One that is longer than what is left is not read. */
const MAX_STATEMENTS = 50_000;

/** Members by their names in lower case without `_` and `-`. */
const CATALOGS = ['catalog', 'tablecatalog', 'catalogname', 'tablecat'];
const SCHEMAS = ['schema', 'tableschema', 'schemaname', 'tableschem'];
const TABLES = ['table', 'tablename', 'fulltablename', 'tables'];
const STATEMENTS = new Set(['query', 'sql', 'statement', 'sqlquery']);
/** The columns of a table that say something of tables: a response may have any number of others, and as many rows. */
const TELLING = new Set([...CATALOGS, ...SCHEMAS, ...TABLES, ...STATEMENTS, 'name']);

/** By dotted name, in the order they were found. `written`: only these, whatever the call names. */
export function tablesOfCall(
  root: Pick<Root, 'args' | 'response'>,
  scope: Scope,
  written: readonly Json[] | undefined,
): ReadonlyMap<string, TableName> {
  const finder = new Finder();
  if (written !== undefined) {
    finder.named(written, scope, 0);
    return finder.tables;
  }
  finder.visit(root.args, scope, 0);
  // What the arguments say holds for the response too: `list_tables { catalog, schema }` → names.
  finder.visit(root.response, isObject(root.args) ? inner(members(root.args), scope) : scope, 0);
  return finder.tables;
}

type Members = ReadonlyMap<string, Json>;

class Finder {
  readonly tables = new Map<string, TableName>();
  #left = MAX_VALUES;
  #unread = MAX_STATEMENTS;

  visit(value: Json, scope: Scope, depth: number): void {
    if (depth > MAX_DEPTH || this.#isDone) return;
    this.#left--;
    if (Array.isArray(value)) for (const item of value as readonly Json[]) this.visit(item, scope, depth + 1);
    else if (isObject(value)) this.#object(value, scope, depth);
  }

  get #isDone(): boolean {
    return this.#left <= 0 || this.tables.size >= MAX_TABLES;
  }

  /** A name, an object with one, or a list of such. */
  named(value: Json, scope: Scope, depth: number): void {
    if (depth > MAX_DEPTH || this.#left-- <= 0) return;
    if (typeof value === 'string') this.#add(partsOf(value), scope);
    else if (Array.isArray(value)) for (const item of value as readonly Json[]) this.named(item, scope, depth + 1);
    else if (isObject(value)) {
      const own = members(value);
      const name = own.get('name');
      if (typeof name === 'string' && !own.has('table') && !own.has('tablename')) {
        this.#add(partsOf(name), inner(own, scope));
      }
      this.#object(value, scope, depth);
    }
  }

  #object(object: JsonObject, outer: Scope, depth: number): void {
    const own = members(object);
    const scope = inner(own, outer);
    for (const key of TABLES) {
      const value = own.get(key);
      if (value !== undefined) this.named(value, scope, depth + 1);
    }
    // `{ schema, name }`: in lists of tables the name is the table's.
    const name = own.get('name');
    if (typeof name === 'string' && SCHEMAS.some((key) => typeof own.get(key) === 'string')) {
      this.#add(partsOf(name), scope);
    }
    for (const row of table(own)) {
      if (this.#isDone) break;
      this.visit(row, scope, depth + 1);
    }
    for (const [key, value] of own) {
      if (typeof value === 'string' && STATEMENTS.has(key)) {
        this.#statement(value, scope);
      } else if (!TABLES.includes(key)) this.visit(value, scope, depth + 1);
    }
  }

  #statement(text: string, scope: Scope): void {
    if (text.length > this.#unread) return;
    this.#unread -= text.length;
    for (const parts of tablesOfStatement(text)) this.#add(parts, scope);
  }

  #add(parts: readonly string[], scope: Scope): void {
    const name = this.tables.size < MAX_TABLES ? resolve(parts, scope) : undefined;
    if (name !== undefined) this.tables.set(dotted(name), name);
  }
}

const plain = (name: string): string => name.toLowerCase().replace(/[_-]/g, '');

const members = (object: JsonObject): Members =>
  new Map(Object.entries(object).map(([key, value]) => [plain(key), value]));

/** A catalog of its own has other schemas. */
function inner(own: Members, outer: Scope): Scope {
  const catalog = firstText(own, CATALOGS);
  const schema = firstText(own, SCHEMAS);
  if (catalog === undefined && schema === undefined) return outer;
  return { catalog: catalog ?? outer.catalog, schema: schema ?? (catalog === undefined ? outer.schema : undefined) };
}

function firstText(own: Members, keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const value = own.get(key);
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** `{ columns: ['table_schema', 'table_name'], rows: [['tiny', 'nation']] }` → objects, where columns are about tables. */
function* table(own: Members): Generator<JsonObject> {
  const rows = own.get('rows') ?? own.get('data');
  const columns = own.get('columns');
  if (!Array.isArray(rows) || !Array.isArray(columns) || !Array.isArray(rows[0])) return;
  const about = new Map<string, number>();
  for (const [at, column] of (columns as readonly Json[]).entries()) {
    const name = isObject(column) ? column.name : column;
    if (typeof name === 'string' && TELLING.has(plain(name))) about.set(plain(name), at);
  }
  if (!TABLES.some((key) => about.has(key))) return;
  for (const row of rows as readonly Json[]) {
    if (!Array.isArray(row)) continue;
    yield Object.fromEntries([...about].map(([name, at]) => [name, (row as readonly Json[])[at] ?? null]));
  }
}
