/** Persona policy: who one is, and whether a tool is theirs. Pure, microseconds, no I/O. */
import type { CompiledAllowDeny, Persona, Tenant } from '../snapshot/snapshot.ts';
import { type Glob, glob } from './glob.ts';

/** A decision together with what made it. */
export interface Decision {
  readonly allowed: boolean;
  /** `none`: no persona fits the caller, which is deny-all. */
  readonly source: 'allow' | 'deny' | 'default' | 'none';
  /** Which of the two lists decided. */
  readonly list: 'tools' | 'connections' | undefined;
  readonly persona: string | undefined;
  /** The pattern that matched, when one did. */
  readonly pattern: string | undefined;
}

/** Who holds the admin token calls as this (`sallyport tool call`); no configured persona can have its name. */
export const OPERATOR: Persona = {
  name: 'sallyport:operator',
  tenant: 'default',
  roles: new Set(),
  subjects: new Set(),
  priority: 0,
  tools: { allow: [glob('*')], deny: [] },
  connections: { allow: [glob('*')], deny: [] },
};

/** Explicit subject mapping first, else the highest-priority persona that shares a role, else none. */
export function personaOf(tenant: Tenant, subject: string, roles: readonly string[]): Persona | undefined {
  for (const persona of tenant.personas) if (persona.subjects.has(subject)) return persona;
  for (const persona of tenant.personas) if (roles.some((role) => persona.roles.has(role))) return persona;
  return undefined;
}

/** Deny beats allow beats deny by default; the tool and its connection must both pass. */
export function decide(persona: Persona | undefined, wireName: string, connection: string): Decision {
  if (persona === undefined) {
    return { allowed: false, source: 'none', list: undefined, persona: undefined, pattern: undefined };
  }
  const byTool = match(persona.tools, wireName);
  const byConnection = match(persona.connections, connection);
  // A deny anywhere is the answer; then a list that does not allow; then the tool's allow.
  if (byTool.source === 'deny') return decision(persona, 'tools', byTool);
  if (byConnection.source === 'deny') return decision(persona, 'connections', byConnection);
  if (byTool.source === 'default') return decision(persona, 'tools', byTool);
  if (byConnection.source === 'default') return decision(persona, 'connections', byConnection);
  return decision(persona, 'tools', byTool);
}

interface Match {
  readonly source: 'allow' | 'deny' | 'default';
  readonly pattern: string | undefined;
}

function match(lists: CompiledAllowDeny, name: string): Match {
  const denied = first(lists.deny, name);
  if (denied !== undefined) return { source: 'deny', pattern: denied };
  const allowed = first(lists.allow, name);
  return allowed === undefined ? { source: 'default', pattern: undefined } : { source: 'allow', pattern: allowed };
}

function first(globs: readonly Glob[], name: string): string | undefined {
  for (const glob of globs) if (glob.matches(name)) return glob.pattern;
  return undefined;
}

function decision(persona: Persona, list: 'tools' | 'connections', made: Match): Decision {
  return { allowed: made.source === 'allow', source: made.source, list, persona: persona.name, pattern: made.pattern };
}

/** The decision as one line for the audit: `persona analyst: tools deny`. */
export function ruleText(decision: Decision): string {
  if (decision.persona === undefined) return 'no persona';
  return `persona ${decision.persona}: ${decision.list} ${decision.source}`;
}

/** What policy calls a resource or a template: its owner, and the owner's own URI. */
export const resourceName = (connection: string, uri: string): string => `${connection}__${uri}`;

/**
 * A URI that nobody lists, judged as written and as its upstream may read it: `file:///open/../secret` is a secret one, and
 * so are `FILE:///secret` and `file:///%73ecret`.
 */
export function decideUri(persona: Persona | undefined, connection: string, uri: string): Decision {
  const written = decide(persona, resourceName(connection, uri), connection);
  if (!written.allowed) return written;
  const plain = plainUri(uri);
  return plain === uri ? written : decide(persona, resourceName(connection, plain), connection);
}

/** Dot segments resolved, scheme and host in lower case, nothing percent-encoded. */
function plainUri(uri: string): string {
  const plain = URL.parse(uri)?.href ?? uri;
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}

/** For what belongs to a connection as such (an answer to its question, a task of the caller's own). */
export function decideConnection(persona: Persona | undefined, connection: string): Decision {
  if (persona === undefined) {
    return { allowed: false, source: 'none', list: undefined, persona: undefined, pattern: undefined };
  }
  return decision(persona, 'connections', match(persona.connections, connection));
}
