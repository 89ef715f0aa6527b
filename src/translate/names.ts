/** An upstream's names for things, as the clients of a namespace know them. */
import type { Span } from '../mcp/json.ts';
import type { Edit } from '../mcp/splice.ts';
import type { Handles } from '../sessions/handles.ts';
import type { Connection, UriSpace } from '../snapshot/snapshot.ts';
import { type Part, taskEdits, uriEdits } from './places.ts';

export interface Names {
  readonly handles: Handles;
  readonly connection: Connection;
  readonly uris: UriSpace;
  /** The principal to whom task ids are bound. */
  readonly owner: string;
}

/** The identifier of the tasks extension (SEP-2663); the legacy capability is called `tasks`. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks';

export function hasTasks({ catalog: { capabilities } }: Connection): boolean {
  if (capabilities.tasks !== undefined) return true;
  const { extensions } = capabilities;
  return typeof extensions === 'object' && extensions !== null && TASKS_EXTENSION in extensions;
}

/** Edits of a result, an error or the params of a message. */
export function nameEdits(bytes: Buffer, span: Span, part: Part, { connection, uris, handles, owner }: Names): Edit[] {
  const edits = uris.isIdentity ? [] : uriEdits(bytes, span, part, (uri) => uris.toWire(connection, uri));
  if (hasTasks(connection)) {
    edits.push(...taskEdits(bytes, span, part, (id) => handles.wrap('task', owner, [connection.name, id])));
  }
  return edits;
}
