import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { startDeadline } from '../../src/egress/deadline.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

t.test('a deadline comes, whatever is collected meanwhile', async (t) => {
  const parent = new AbortController();
  const { signal } = startDeadline(200, parent.signal);
  const collecting = setInterval(collectGarbage, 10);
  await once(signal, 'abort');
  clearInterval(collecting);
  t.equal((signal.reason as Error).name, 'TimeoutError');
  t.notOk(parent.signal.aborted);
});

t.test('the caller can end the work early, and nothing is left when it is over', async (t) => {
  const parent = new AbortController();
  const early = startDeadline(60_000, parent.signal);
  const released = startDeadline(60_000, parent.signal);
  released.release();
  parent.abort();
  t.ok(early.signal.aborted);
  t.notOk(released.signal.aborted);
  early.release();
  t.ok(startDeadline(60_000, parent.signal).signal.aborted, 'one that starts after the end is over at once');
});
