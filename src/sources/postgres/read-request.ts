/**
 * One query in one round trip: BEGIN READ ONLY, a limit of time, the query with a limit of rows, ROLLBACK, all sent at
 * once. The transaction begins read-only each time, and cannot become anything else once a query runs in it; whatever
 * the query changed in its session is rolled back with it, except for advisory locks, which are let go of.
 */
import type { FieldDef, Submittable } from 'pg';
import type { Json } from '../../mcp/exact-json.ts';
import { type SourceAnswer, SourceError } from '../source.ts';
import { distinctNames } from '../sql/column-names.ts';
import type { Wire } from './guarded-client.ts';
import type { PostgresRequest } from './template.ts';
import { readerOf } from './values.ts';

export interface ReadLimits {
  readonly rows: number;
  readonly bytes: number;
  /** The server ends the query after so long. */
  readonly timeoutMs: number;
}

interface Column {
  readonly name: string;
  readonly read: (text: string) => Json;
}

/** Which of the commands that complete is the query: BEGIN and SET come before it. */
const QUERY = 3;

/** How to prepare the query: under a name, or not; `isNew`: the connection does not have it yet. */
export interface Preparation {
  readonly name: string | undefined;
  readonly isNew: boolean;
}

export class ReadRequest implements Submittable {
  readonly rows: Json[] = [];
  #columns: readonly Column[] = [];
  #completed = 0;
  #bytes = 0;
  #isTruncated = false;
  #failure: SourceError | undefined;
  readonly #request: PostgresRequest;
  readonly #limits: ReadLimits;
  readonly #preparation: Preparation;
  readonly #settle: (error: Error | undefined, answer: SourceAnswer) => void;

  /** `settle` may be called again when the connection ends later. */
  constructor(
    request: PostgresRequest,
    limits: ReadLimits,
    preparation: Preparation,
    settle: (error: Error | undefined, answer: SourceAnswer) => void,
  ) {
    this.#request = request;
    this.#limits = limits;
    this.#preparation = preparation;
    this.#settle = settle;
  }

  submit(connection: unknown): void {
    const wire = connection as Wire;
    const { text, values } = this.#request;
    const { name, isNew } = this.#preparation;
    wire.stream.cork();
    command(wire, 'begin read only');
    command(wire, `set local statement_timeout = ${this.#limits.timeoutMs}`);
    if (isNew) wire.parse(name === undefined ? { text } : { text, name });
    wire.bind(name === undefined ? { values } : { statement: name, values });
    wire.describe({ type: 'P' });
    wire.execute({ rows: this.#limits.rows + 1 });
    end(wire);
    wire.stream.uncork();
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDef[] }): void {
    this.#columns = columnsOf(fields);
  }

  handleDataRow({ length, fields }: { readonly length: number; readonly fields: readonly (string | null)[] }): void {
    if (this.#completed >= QUERY || this.#isTruncated || this.#failure !== undefined) return;
    if (fields.length !== this.#columns.length) {
      this.#failure = new SourceError('bad answer', 'it sent a row that is not as it said');
      return;
    }
    this.#bytes += length;
    const isTooLarge = this.#bytes > this.#limits.bytes;
    if (isTooLarge && this.rows.length === 0) {
      this.#failure = new SourceError('too large', `its first row has more than ${this.#limits.bytes} bytes`);
    } else if (isTooLarge || this.rows.length >= this.#limits.rows) this.#isTruncated = true;
    else this.#add(fields);
  }

  handlePortalSuspended(): void {
    this.#isTruncated = true;
    this.#completed = QUERY;
  }

  handleCommandComplete(): void {
    this.#completed++;
  }

  handleEmptyQuery(): void {
    this.#completed++;
  }

  handleCopyInResponse(connection: unknown): void {
    (connection as Wire).sendCopyFail('nothing is copied here');
  }

  handleCopyData(): void {}

  handleReadyForQuery(): void {
    if (this.#completed < QUERY) this.#failure ??= new SourceError('bad answer', 'it ended its answer early');
    this.#settle(this.#failure, this.#answer());
  }

  /** The server's word, or the connection's end; rows that came until then are what is known. */
  handleError(error: Error): void {
    this.#settle(this.#failure ?? error, this.#answer());
  }

  #answer(): SourceAnswer {
    return { rows: this.rows, isTruncated: this.#isTruncated };
  }

  #add(fields: readonly (string | null)[]): void {
    const row: Record<string, Json> = {};
    try {
      for (const [index, { name, read }] of this.#columns.entries()) {
        const text = fields[index] as string | null;
        const value = text === null ? null : read(text);
        if (name === '__proto__') Object.defineProperty(row, name, { value, enumerable: true });
        else row[name] = value;
      }
      this.rows.push(row);
    } catch {
      this.#failure = new SourceError('bad answer', 'it sent a value that is none of its type');
    }
  }
}

/** After a query that failed: out of its transaction, and what may or may not have been prepared is not. */
export class Recovery implements Submittable {
  readonly #name: string | undefined;
  readonly #settle: (error: Error | undefined) => void;

  constructor(name: string | undefined, settle: (error: Error | undefined) => void) {
    this.#name = name;
    this.#settle = settle;
  }

  submit(connection: unknown): void {
    const wire = connection as Wire;
    wire.stream.cork();
    if (this.#name !== undefined) wire.close({ type: 'S', name: this.#name });
    end(wire);
    wire.stream.uncork();
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handleReadyForQuery(): void {
    this.#settle(undefined);
  }
  handleError(error: Error): void {
    this.#settle(error);
  }
}

function end(wire: Wire): void {
  command(wire, 'rollback');
  command(wire, 'select pg_advisory_unlock_all()');
  wire.sync();
}

function command(wire: Wire, text: string): void {
  wire.parse({ text });
  wire.bind({});
  wire.execute({});
}

function columnsOf(fields: readonly FieldDef[]): readonly Column[] {
  const names = distinctNames(fields.map(({ name }) => name));
  return fields.map(({ dataTypeID }, index) => ({ name: names[index] as string, read: readerOf(dataTypeID) }));
}
