/** A result in the words of the client's era, where the upstream speaks the other (MCP 2026-07-28, "Versioning"). */
import { type Span, stringAt, walkObject } from '../mcp/json.ts';
import { insertMembers, removeMembers } from '../mcp/object-edit.ts';
import type { Edit } from '../mcp/splice.ts';
import { member } from './member.ts';

/** `resources/read` is the only cacheable result that passes through; the lists are the gateway's own. */
const CACHEABLE = new Set(['resources/read']);

/** What a modern client must find in a result that a legacy upstream knows nothing of. */
export function toModern(bytes: Buffer, result: Span, method: string): Edit[] {
  // No result of MCP's; whoever reads it will say so.
  if (bytes[result.start] !== 0x7b) return [];
  const has = new Set<string>();
  walkObject(bytes, result.start, 1, (key) => void has.add(key));
  const missing: string[] = [];
  if (!has.has('resultType')) missing.push('"resultType":"complete"');
  if (CACHEABLE.has(method)) {
    // Nothing is known of how long it stays true, nor of whom else it may be shown to.
    if (!has.has('ttlMs')) missing.push('"ttlMs":0');
    if (!has.has('cacheScope')) missing.push('"cacheScope":"private"');
  }
  return missing.length === 0 ? [] : [insertMembers(bytes, result, missing.join(','))];
}

/**
 * Who may read a resource here depends on who asks, so nobody may keep it for others, whatever its server says (MCP
 * 2026-07-28, "Caching").
 */
export function privately(bytes: Buffer, result: Span, method: string): Edit[] {
  const scope = CACHEABLE.has(method) ? member(bytes, result, 'cacheScope') : undefined;
  const isPrivate = scope === undefined || bytes.toString('latin1', scope.start, scope.end) === '"private"';
  return isPrivate ? [] : [{ ...scope, with: '"private"' }];
}

const MODERN_MEMBERS = new Set(['resultType', 'ttlMs', 'cacheScope']);

/** What a legacy client need not see; an empty result with anything in it is refused by some. */
export const toLegacy = (bytes: Buffer, result: Span): Edit[] =>
  bytes[result.start] === 0x7b ? removeMembers(bytes, result, 1, (key) => MODERN_MEMBERS.has(key)) : [];

/** `resultType`, where the result has one. */
export function resultType(bytes: Buffer, result: Span): string | undefined {
  // Most legacy results have no such word at all.
  const at = bytes.indexOf('"resultType"', result.start, 'latin1');
  if (at < 0 || at >= result.end || bytes[result.start] !== 0x7b) return undefined;
  let type: string | undefined;
  walkObject(bytes, result.start, 1, (key, start, end) => {
    if (key === 'resultType' && bytes[start] === 0x22) type = stringAt(bytes, start, end);
  });
  return type;
}
