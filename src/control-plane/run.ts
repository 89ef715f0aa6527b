import { type ControlPlaneOptions, startControlPlane } from './start.ts';

/**
 * The `control-plane` role: starts, tells the supervisor (if there is one) over IPC, and serves until told to stop by
 * SIGTERM, SIGINT, `{ type: 'stop' }`, or the end of the channel, which is the end of the supervisor.
 */
export async function runControlPlane(options: Omit<ControlPlaneOptions, 'tell'>): Promise<void> {
  const told = new Promise<'stop'>((resolve) => {
    const stop = () => resolve('stop');
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
    process.once('disconnect', stop);
    process.on('message', (message) => {
      if ((message as { type?: unknown } | null)?.type === 'stop') stop();
    });
  });
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
