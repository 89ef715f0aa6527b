import type { Bed } from './comparison.ts';
import { memoryByRole } from './comparison.ts';
import { openSockets, processTree } from './processes.ts';
import { TOOL_COUNT } from './upstream.ts';

/** State of the stack after so many calls. Memory in MiB by role; sockets open in all of its processes. */
export interface SoakSample {
  readonly calls: number;
  readonly memory: Readonly<Record<string, number>>;
  readonly sockets: number;
}

export interface Soak {
  readonly samples: readonly SoakSample[];
  readonly errors: number;
  readonly errorTexts: Readonly<Record<string, number>>;
}

const STEPS = 20;
const CONNECTIONS = 16;

/**
 * Sends `calls` tool calls through the gateway in twenty portions, each on new connections and sessions, and looks at
 * memory and sockets after each: what grows from the fifth sample on is kept, not cached.
 */
export async function soak(bed: Bed, calls: number): Promise<Soak> {
  const samples: SoakSample[] = [];
  const errorTexts: Record<string, number> = {};
  let errors = 0;
  let done = 0;
  const look = (): void => {
    const sockets = processTree(bed.stack.pid).reduce((total, { pid }) => total + openSockets(pid), 0);
    samples.push({ calls: done, memory: memoryByRole(bed.stack.pid), sockets });
    bed.progress(`${done} calls, ${errors} errors, ${sockets} sockets, ${describe(samples.at(-1)?.memory ?? {})}`);
  };
  look();
  for (let step = 0; step < STEPS; step++) {
    const portion = Math.ceil((calls * (step + 1)) / STEPS) - done;
    if (portion === 0) continue;
    bed.signal.throwIfAborted();
    const result = await bed.load({
      url: bed.stack.mcpUrl,
      authorization: bed.stack.authorization,
      method: 'tools/call',
      tool: bed.stack.tool,
      toolCount: TOOL_COUNT,
      connections: CONNECTIONS,
      warmupSeconds: 0,
      seconds: 0,
      calls: portion,
      pids: [],
    });
    done += portion;
    errors += result.errors;
    for (const [text, count] of Object.entries(result.errorTexts)) errorTexts[text] = (errorTexts[text] ?? 0) + count;
    look();
  }
  return { samples, errors, errorTexts };
}

function describe(memory: Readonly<Record<string, number>>): string {
  return Object.entries(memory)
    .map(([role, mib]) => `${role} ${mib.toFixed(0)} MiB`)
    .join(', ');
}
