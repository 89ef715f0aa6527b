import pg from 'pg';

/** A subscription to NOTIFY channels on a connection of its own. */
export interface Listener {
  close(): void;
}

/** How often the connection is tried out, and how long it may take to answer. */
const PROBE_MS = 5_000;

/**
 * Calls `onNotify(channel, payload)` for each notification, and `onNotify(channel, 'poll')` for every channel each
 * `pollMs` and after each (re)connect: whatever was missed while the connection was down is looked for then, so
 * callers need no other fallback. Never throws; a lost connection is tried again with back-off up to 5 s. One whose
 * peer vanished without a word is found by asking it something each `probeMs`.
 */
export function listen(
  url: string,
  channels: readonly string[],
  onNotify: (channel: string, payload: string) => void,
  options: { readonly pollMs: number; readonly probeMs?: number },
): Listener {
  const probeMs = options.probeMs ?? PROBE_MS;
  let client: pg.Client | undefined;
  let connected = false;
  let closed = false;
  let delay = 100;
  let retry: NodeJS.Timeout | undefined;

  const pollAll = () => {
    for (const channel of channels) onNotify(channel, 'poll');
  };
  const poll = setInterval(pollAll, options.pollMs);
  const probe = setInterval(() => {
    const current = client;
    if (current === undefined || !connected) return;
    current.query('select 1').catch(() => lost(current));
  }, probeMs);

  const lost = (which: pg.Client) => {
    if (client !== which) return;
    client = undefined;
    connected = false;
    which.end().catch(() => {});
    if (closed) return;
    retry = setTimeout(connect, delay);
    delay = Math.min(delay * 2, 5_000);
  };

  function connect(): void {
    const next = new pg.Client({
      connectionString: url,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: 5_000,
      query_timeout: probeMs,
      application_name: 'sallyport listen',
    });
    client = next;
    next.on('error', () => lost(next));
    next.on('end', () => lost(next));
    next.on('notification', ({ channel, payload }) => onNotify(channel, payload ?? ''));
    next
      .connect()
      .then(() => next.query(channels.map((channel) => `listen ${pg.escapeIdentifier(channel)}`).join('; ')))
      .then(() => {
        if (client !== next) return;
        connected = true;
        delay = 100;
        pollAll();
      })
      .catch(() => lost(next));
  }

  connect();
  return {
    close() {
      closed = true;
      clearInterval(poll);
      clearInterval(probe);
      clearTimeout(retry);
      const last = client;
      client = undefined;
      last?.end().catch(() => {});
    },
  };
}
