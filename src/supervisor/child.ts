import type { Logger } from '../telemetry/log.ts';
import { StartError } from './start-error.ts';

/** What a child of ours says over its IPC channel. */
export interface ChildMessage {
  readonly type: 'ready' | 'listening' | 'refused';
  /** Shown once: the control plane made the first key in this start. */
  readonly firstKey?: string;
  /** With `listening`: the configuration has a certificate for the listener. */
  readonly tls?: boolean;
  /** With `refused`: why Envoy does not listen, in its words. */
  readonly reason?: string;
}

/** A process that was started. */
export interface Running {
  /** Settles at once; undefined when nothing could be started. */
  readonly pid: Promise<number | undefined>;
  /** Settles when it is gone. `gaveUp`: it chose to end, rather than being killed or crashing. */
  readonly ended: Promise<{ readonly how: string; readonly gaveUp: boolean }>;
  onMessage(listener: (message: ChildMessage) => void): void;
  /** Asks it to finish what it has and end. */
  askToEnd(): void;
  kill(): void;
}

/** How to run one child. */
export interface ChildSpec {
  readonly name: string;
  readonly start: () => Running;
  readonly onMessage?: (message: ChildMessage) => void;
  /** Called with every new process id, undefined when the process ended. */
  readonly onPid: (pid: number | undefined) => void;
  readonly log: Logger;
}

/** A child that is started again whenever it ends, until it is stopped. */
export interface Child {
  readonly name: string;
  /** Settles with the first `ready`; fails if the process gives up before that, which no restart would cure. */
  readonly ready: Promise<void>;
  /** Says `ready` for a program that cannot: from now on it is restarted however it ends. */
  confirm(): void;
  /** Asks it to end, and kills it if that takes longer. */
  stop(withinMs: number): Promise<void>;
  kill(): void;
}

/** First delay before a restart; it doubles up to {@link MAX_DELAY_MS}, and starts over after {@link STEADY_MS} of life. */
const MIN_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
const STEADY_MS = 30_000;
/** From this restart in a row on, the log says that something is wrong beyond a crash. */
const WORRYING = 5;

/** Starts a child and keeps it running. */
export function supervise(spec: ChildSpec): Child {
  const { name, log } = spec;
  let current: Running | undefined;
  let stopping = false;
  let failures = 0;
  let restart: NodeJS.Timeout | undefined;
  let settle = (): void => {};
  let fail = (_error: Error): void => {};
  let isReady = false;
  const ready = new Promise<void>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  // Whoever waits for it sees the failure; nobody may be waiting yet.
  ready.catch(() => {});
  const confirm = (): void => {
    isReady = true;
    settle();
  };

  const run = async (): Promise<void> => {
    const startedAt = Date.now();
    const running = spec.start();
    current = running;
    running.onMessage((message) => {
      if (message.type === 'ready') confirm();
      spec.onMessage?.(message);
    });
    spec.onPid(await running.pid);
    const { how, gaveUp } = await running.ended;
    current = undefined;
    spec.onPid(undefined);
    if (stopping) return;
    if (gaveUp && !isReady) {
      fail(new StartError(`${name} could not start (${how}); what it said is above.`));
      return;
    }
    failures = Date.now() - startedAt > STEADY_MS ? 1 : failures + 1;
    const delayMs = Math.min(MIN_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS);
    const worrying = failures >= WORRYING;
    const words = worrying ? `ended ${failures} times in a row; still trying` : 'ended; starting it again';
    log[worrying ? 'error' : 'warn']({ child: name, how, delayMs }, `${name} ${words}`);
    restart = setTimeout(run, delayMs);
  };
  void run();

  return {
    name,
    ready,
    confirm,
    stop: async (withinMs) => {
      stopping = true;
      clearTimeout(restart);
      const running = current;
      if (!running) return;
      running.askToEnd();
      const deadline = setTimeout(() => {
        log.warn({ child: name, withinMs }, `${name} did not end in time and is killed`);
        running.kill();
      }, withinMs);
      await running.ended;
      clearTimeout(deadline);
    },
    kill: () => {
      stopping = true;
      clearTimeout(restart);
      current?.kill();
    },
  };
}
