/** What a caller sees of a namespace, as three digests: which list has changed is what clients are told. */
import { offeredCapabilities } from '../answers/capabilities.ts';
import type { Namespace, Persona } from '../snapshot/snapshot.ts';
import { viewOf } from '../snapshot/view.ts';

/** Lists of which clients are told that they changed; templates count as resources. */
export type ListKind = 'tools' | 'prompts' | 'resources';
export const LIST_KINDS: readonly ListKind[] = ['tools', 'prompts', 'resources'];

export type ViewDigests = Readonly<Record<ListKind, string>>;

export function viewDigests(namespace: Namespace, persona: Persona | undefined): ViewDigests {
  const digest = (kind: 'tools' | 'prompts' | 'resources' | 'templates'): string =>
    viewOf(namespace, persona, kind).digest;
  return {
    tools: digest('tools'),
    prompts: digest('prompts'),
    resources: `${digest('resources')} ${digest('templates')}`,
  };
}

/** The kinds that the namespace says it has, in whose lists a client may take an interest. */
export function offeredKinds(namespace: Namespace): readonly ListKind[] {
  const offered = offeredCapabilities(namespace.connections, 'legacy', true);
  return LIST_KINDS.filter((kind) => offered[kind] !== undefined);
}

export const changedKinds = (before: ViewDigests, after: ViewDigests, kinds: readonly ListKind[]): ListKind[] =>
  kinds.filter((kind) => before[kind] !== after[kind]);
