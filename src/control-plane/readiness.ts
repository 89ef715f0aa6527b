import type { AdminContext } from './context.ts';
import { activeRevisionId, liveReplicas } from './store.ts';

/** Longer than any healthy look at the database, shorter than a probe waits. */
const PROBE_MS = 2_000;

/** Ready: the database answers and there is a revision to serve. What else is missing is told and is not this process's. */
export async function readiness(context: AdminContext) {
  const state = await Promise.race([look(context), timeout()]).catch((error: Error) => ({ database: error.message }));
  const { nodes, rejections } = context.gateway.ads();
  const detail = {
    ...state,
    envoys: nodes.length,
    envoysSettled: nodes.filter(({ settled }) => settled).length,
    rejections: rejections.length,
  };
  const isReady = 'revision' in state && state.revision !== null;
  return { status: isReady ? ('ready' as const) : ('not ready' as const), ...detail };
}

async function look({ database }: AdminContext) {
  const revision = (await activeRevisionId(database.kysely)) ?? null;
  const replicas = await liveReplicas(database.kysely);
  const count = (role: string): number => replicas.filter((replica) => replica.role === role).length;
  return { database: 'ok', revision, processors: count('processor'), relays: count('relay') };
}

const timeout = () =>
  new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error('does not answer')), PROBE_MS).unref();
  });
