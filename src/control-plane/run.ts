import { toldToStop } from '../runtime/told-to-stop.ts';
import { type ControlPlaneOptions, startControlPlane } from './start.ts';

/**
 * The `control-plane` role: starts, tells the supervisor (if there is one) over IPC, and serves until told to stop by
 * SIGTERM, SIGINT, `{ type: 'stop' }`, or the end of the channel, which is the end of the supervisor.
 */
export async function runControlPlane(options: Omit<ControlPlaneOptions, 'tell'>): Promise<void> {
  const told = toldToStop().then(() => 'stop' as const);
  const tell = (message: object) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  const starting = startControlPlane({ ...options, tell });
  // Told to stop while still waiting for the database, say: there is nothing to drain yet.
  if ((await Promise.race([starting, told])) === 'stop') process.exit(0);
  const controlPlane = await starting;
  await told;
  options.log.info('stopping');
  await controlPlane.stop();
}
