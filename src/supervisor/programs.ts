import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { signal, startOnLeash } from '../runtime/leash.ts';
import type { Sockets } from '../runtime/sockets.ts';
import { envoyBootstrap } from '../xds/bootstrap.ts';
import type { ChildMessage, Running } from './child.ts';

/**
 * A role of Sallyport as a child process. It is in a process group of its own, so that Ctrl-C reaches the supervisor
 * alone, and has an IPC channel: when that closes, because the supervisor died, the child ends. Standard output is
 * kept for what `up` itself prints.
 */
export function startRole(main: string, args: readonly string[], env: NodeJS.ProcessEnv): Running {
  const child = fork(main, args, { env, detached: true, stdio: ['ignore', 2, 2, 'ipc'] });
  return {
    pid: Promise.resolve(child.pid),
    ended: new Promise((resolve) => {
      child.once('error', (error) => resolve({ how: error.message, gaveUp: true }));
      child.once('exit', (code, by) =>
        resolve({ how: by ? `signal ${by}` : `exit code ${code}`, gaveUp: by === null }),
      );
    }),
    onMessage: (listener) => child.on('message', (message) => listener(message as ChildMessage)),
    askToEnd: () => {
      if (!child.connected) return signal(child.pid, 'SIGTERM');
      // An open channel would keep the process alive after it has finished.
      child.send({ type: 'stop' }, () => child.connected && child.disconnect());
    },
    kill: () => signal(child.pid, 'SIGKILL'),
  };
}

/** What Envoy is started with. */
export interface EnvoyRun {
  readonly path: string;
  readonly runtimeDir: string;
  readonly sockets: Sockets;
  readonly workers: number;
  readonly relays: number;
  readonly concurrency: number;
  readonly logLevel: string;
}

/**
 * Writes Envoy's bootstrap file and returns its command line. There is no hot restart: it would need shared memory
 * that two deployments on one machine would fight over, and configuration changes arrive by xDS anyway.
 */
export function prepareEnvoy(run: EnvoyRun): { command: string; args: string[] } {
  const file = join(run.runtimeDir, 'envoy.json');
  const { sockets, workers, relays, concurrency } = run;
  const bootstrap = envoyBootstrap({ sockets, workers, relays, nodeId: 'sallyport' });
  writeFileSync(file, `${JSON.stringify(bootstrap, null, 2)}\n`, { mode: 0o600 });
  const args = ['--config-path', file, '--concurrency', String(concurrency), '--disable-hot-restart'];
  return { command: run.path, args: [...args, '--drain-time-s', '1', '--log-level', run.logLevel] };
}

/** What Envoy, or a wrapper that ENVOY_PATH names, may need of our environment. Secrets are in the rest of it. */
const ENVOY_ENVIRONMENT = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_ALL', 'TZ', 'LD_LIBRARY_PATH'];

/** Envoy on a leash: without hot restart, it does not ask the kernel to end it with its parent. */
export function startEnvoy({ command, args }: { command: string; args: string[] }): Running {
  const env = Object.fromEntries(ENVOY_ENVIRONMENT.map((name) => [name, process.env[name]]));
  const envoy = startOnLeash(command, args, { env, stderr: 'inherit' });
  return {
    pid: envoy.pid,
    ended: envoy.ended.then(({ code, bySignal }) => ({
      how: bySignal ? `signal ${code - 128}` : `exit code ${code}`,
      gaveUp: !bySignal,
    })),
    onMessage: () => {},
    askToEnd: envoy.release,
    kill: () => void envoy.pid.then((pid) => signal(pid, 'SIGKILL')),
  };
}
