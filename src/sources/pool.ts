/** The open sources of one process: each with its queue and its circuit breaker, all with one cache. */
import type { Logger } from '../telemetry/log.ts';
import type { Meters } from '../telemetry/meters.ts';
import { AnswerCache } from './cache.ts';
import { keyOf, OpenSource } from './open-source.ts';
import { type SourceClient, type SourceDefinition, SourceError } from './source.ts';
import type { KnownAnswer, SourceHealth, Sources } from './sources.ts';

export interface SourcesOptions {
  /** Opens nothing yet, or may throw; sockets come with the first question. */
  readonly open: (definition: SourceDefinition) => SourceClient;
  readonly log: Logger;
  readonly meters?: Pick<Meters, 'gauge'>;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
  readonly cacheBytes?: number;
  /** Per source. */
  readonly maxWaiting?: number;
}

const CACHE_BYTES = 32 * 1024 * 1024;
const MAX_WAITING = 1000;

const STATES = ['unused', 'ok', 'failing', 'open'] as const;

export function createSources(options: SourcesOptions): Sources {
  const { open, log, now = () => performance.now() } = options;
  const cache = new AnswerCache({ maxBytes: options.cacheBytes ?? CACHE_BYTES, now });
  const sources = new Map<string, OpenSource>();
  const found = new WeakMap<SourceDefinition, OpenSource>();
  /** Those of the last update; before the first, any may be asked. */
  let wanted: ReadonlySet<string> | undefined;
  let isClosed = false;

  const letGo = (key: string, source: OpenSource): Promise<void> => {
    sources.delete(key);
    return source.close();
  };

  const sourceOf = (definition: SourceDefinition): OpenSource => {
    const known = found.get(definition);
    if (known !== undefined && !known.isClosed) return known;
    const key = keyOf(definition);
    let source = sources.get(key);
    if (source === undefined) {
      source = new OpenSource(definition, {
        open,
        log,
        now,
        maxWaiting: options.maxWaiting ?? MAX_WAITING,
        onIdle(idle) {
          // A call that began before an update may still use what is gone.
          if (wanted?.has(key) === false) void letGo(key, idle);
        },
      });
      sources.set(key, source);
    }
    found.set(definition, source);
    return source;
  };

  const health = (): SourceHealth[] => [...sources.values()].map((source) => source.health());
  options.meters?.gauge('sallyport_source_state', 'Sources: 0 unused, 1 ok, 2 failing, 3 circuit open', () =>
    health().map(({ tenant, name, state }) => ({
      value: STATES.indexOf(state),
      labels: { source: tenant === 'default' ? name : `${tenant}/${name}` },
    })),
  );

  return {
    ask(definition, rendered, asked): Promise<KnownAnswer> {
      const fault = isClosed ? 'this process is stopping' : cannotUse(definition);
      if (fault !== undefined) {
        return Promise.reject(new SourceError('not asked', `the source ${definition.name} cannot be used: ${fault}`));
      }
      const source = sourceOf(definition);
      if (asked.cacheMs <= 0) return source.ask(rendered, asked).then(fresh);
      // What is cut depends on the limits.
      const key = `${source.key} ${asked.maxRows} ${asked.maxBytes} ${rendered.key}`;
      const known = cache.find(key, asked.cacheMs);
      if (known !== undefined) return known;
      const { timeoutMs, maxRows, maxBytes } = asked;
      return cache.share(key, asked, (signal) => source.ask(rendered, { signal, timeoutMs, maxRows, maxBytes }));
    },
    update(definitions) {
      const keys = new Set<string>();
      for (const definition of definitions) {
        keys.add(keyOf(definition));
        if (cannotUse(definition) === undefined) sourceOf(definition);
      }
      wanted = keys;
      for (const [key, source] of sources) if (!keys.has(key) && source.isIdle) void letGo(key, source);
    },
    health,
    async close() {
      isClosed = true;
      await Promise.all([...sources].map(([key, source]) => letGo(key, source)));
    },
  };
}

function cannotUse({ fault, config }: SourceDefinition): string | undefined {
  return fault ?? (config.enabled ? undefined : 'it is switched off');
}

const fresh = (answer: Awaited<ReturnType<SourceClient['ask']>>): KnownAnswer => ({ ...answer, isCached: false });
