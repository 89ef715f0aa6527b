/** Requests to stop, as promises. */
export interface StopSignals {
  /** The first Ctrl-C, SIGTERM, or the end of the terminal. */
  readonly requested: Promise<void>;
  /** A further one: whoever sends it does not want to wait. */
  readonly again: Promise<void>;
  dispose(): void;
}

/** Catches the signals that mean "stop" instead of dying of them. */
export function watchStopSignals(): StopSignals {
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  let request = (): void => {};
  let insist = (): void => {};
  const requested = new Promise<void>((resolve) => {
    request = resolve;
  });
  const again = new Promise<void>((resolve) => {
    insist = resolve;
  });
  let firstAt: number | undefined;
  const onSignal = (): void => {
    // A terminal sends one Ctrl-C to every process of the group, and npm passes its own on: that is one request.
    if (firstAt !== undefined && Date.now() - firstAt > 300) insist();
    firstAt ??= Date.now();
    request();
  };
  for (const name of signals) process.on(name, onSignal);
  return {
    requested,
    again,
    dispose: () => {
      for (const name of signals) process.off(name, onSignal);
    },
  };
}
