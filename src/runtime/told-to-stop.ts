/** A role's word to stop: a signal, the supervisor's message, or the end of its channel, which is the supervisor's end. */
export function toldToStop(): Promise<void> {
  return new Promise((stop) => {
    for (const event of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.once(event, () => stop());
    process.on('message', (message) => {
      if ((message as { type?: unknown } | null)?.type === 'stop') stop();
    });
  });
}
