/**
 * What sessions have been told, so that they are not told it twice. Kept in memory: whoever forgets tells it again. Other
 * processes hear of it soon (NOTIFY `sallyport_told`), because the next call of a session may reach any of them.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Logger } from '../telemetry/log.ts';
import type { Told } from './world.ts';

/** Payload of NOTIFY `sallyport_told`. */
export interface Telling {
  readonly session: string;
  readonly name: string;
}

export interface ToldOptions {
  /** Tells all processes; one query for all of them. */
  readonly broadcast: (tellings: readonly Telling[]) => Promise<void>;
  readonly log: Logger;
  /** How long tellings are gathered, milliseconds. */
  readonly gatherMs?: number;
}

export interface SharedTold extends Told {
  /** A payload of `sallyport_told`. */
  heard(payload: string): void;
  /** Sends what was gathered. */
  close(): Promise<void>;
}

const GATHER_MS = 50;
const MAX_SESSIONS = 5000;
const MAX_CONTEXTS = 200;
/** More than that are not worth waiting for a Postgres that is slow: they are told twice. */
const MAX_GATHERED = 5000;

export function createTold({ broadcast, log, gatherMs = GATHER_MS }: ToldOptions): SharedTold {
  const sessions = new LRUCache<string, Set<string>>({ max: MAX_SESSIONS });
  let gathered: Telling[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;

  /** Whether it was known. */
  function note(session: string, name: string): boolean {
    let names = sessions.get(session);
    if (names === undefined) {
      names = new Set();
      sessions.set(session, names);
    }
    if (names.has(name)) return true;
    if (names.size >= MAX_CONTEXTS) names.delete(names.values().next().value as string);
    names.add(name);
    return false;
  }

  function gather(telling: Telling): void {
    if (gathered.length < MAX_GATHERED) gathered.push(telling);
    timer ??= setTimeout(() => void flush(), gatherMs);
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    sending ??= send().finally(() => {
      sending = undefined;
      timer = gathered.length === 0 ? undefined : setTimeout(() => void flush(), gatherMs);
    });
    return sending;
  }

  async function send(): Promise<void> {
    const batch = gathered;
    gathered = [];
    if (batch.length === 0) return;
    try {
      await broadcast(batch);
    } catch (error) {
      log.debug({ error: (error as Error).message }, 'other processes could not be told what sessions were told');
    }
  }

  return {
    look(session, text) {
      const name = nameOf(text);
      return { name, again: sessions.get(session)?.has(name) === true };
    },
    tell(session, text) {
      const name = nameOf(text);
      const again = note(session, name);
      if (!again) gather({ session, name });
      return { name, again };
    },
    forget: (session) => void sessions.delete(session),
    heard(payload) {
      const { session, name } = JSON.parse(payload) as Telling;
      note(session, name);
    },
    async close() {
      await sending;
      await flush();
      clearTimeout(timer);
    },
  };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

/** Forty bits of the digest, five a letter (RFC 4648 base32, lower case): enough for the few contexts of one session. */
function nameOf(text: string): string {
  const digest = hash('sha256', text, 'buffer');
  let bits = digest.readUIntBE(0, 5);
  let letters = '';
  for (let n = 0; n < 8; n++) {
    letters = LETTERS[bits % 32] + letters;
    bits = Math.floor(bits / 32);
  }
  return `ctx_${letters}`;
}
