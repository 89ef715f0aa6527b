/**
 * A time limit joined with a caller's own signal. `AbortSignal.any([x, AbortSignal.timeout(n)])` would say the same, but on
 * Node 20 the joined signal does not keep its timeout alive: once that is collected, the limit never comes.
 */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Takes the timer and the listener away; call it when the work is over, however it ended. */
  release(): void;
}

/** `ms`: milliseconds from now. `parent`: ends the work early. */
export function startDeadline(ms: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`no answer within ${ms / 1000} s`, 'TimeoutError'));
  }, ms);
  const give = (): void => {
    clearTimeout(timer);
    controller.abort(parent?.reason);
  };
  if (parent?.aborted === true) give();
  else parent?.addEventListener('abort', give, { once: true });
  return {
    signal: controller.signal,
    release() {
      clearTimeout(timer);
      parent?.removeEventListener('abort', give);
    },
  };
}
