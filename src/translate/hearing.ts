/** Who may be told that a resource has changed: whoever may read it. */
import { stringAt } from '../mcp/json.ts';
import type { ResponseEnvelope } from '../mcp/response.ts';
import { decide, resourceName } from '../policy/decide.ts';
import type { Persona } from '../snapshot/snapshot.ts';
import { member } from './member.ts';

/** `message`: a `notifications/resources/updated` of the connection's, with its own URI. */
export function mayHearOf(
  { bytes, params }: ResponseEnvelope,
  connection: string,
  persona: Persona | undefined,
): boolean {
  const uri = params === undefined ? undefined : member(bytes, params, 'uri');
  if (uri === undefined || bytes[uri.start] !== 0x22) return false;
  return decide(persona, resourceName(connection, stringAt(bytes, uri.start, uri.end)), connection).allowed;
}
