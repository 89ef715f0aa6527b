import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Clock ticks a second in /proc/<pid>/stat: 100 on every Linux port that Node runs on. */
const TICKS = 100;

/** One running part of the stack. `role` groups what belongs together: all of Postgres, all processor workers. */
export interface RunningProcess {
  readonly pid: number;
  readonly role: string;
}

/**
 * The process `root` and all below it, by /proc: nothing needs to be told to the benchmark by the stack it measures.
 * Empty where there is no /proc (CPU and memory are then left out of the report).
 */
export function processTree(root: number): RunningProcess[] {
  const children = new Map<number, number[]>();
  for (const entry of listProc()) {
    const parent = parentOf(entry);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), entry]);
  }
  const found: RunningProcess[] = [];
  const visit = (pid: number, inherited: string | undefined): void => {
    const role = inherited ?? roleOf(pid, pid === root);
    if (role) found.push({ pid, role });
    // Postgres forks its backends: they are Postgres whatever title they give themselves.
    for (const child of children.get(pid) ?? []) visit(child, role === 'postgres' ? role : undefined);
  };
  visit(root, undefined);
  return found;
}

/** CPU seconds a process has used so far; undefined once it is gone. */
export function cpuSeconds(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields && (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/**
 * Memory in MiB: the resident set. For Postgres the proportional one (PSS): its processes share one buffer, which
 * would be counted once for each. Not for the others: an Envoy of somebody else on the machine would halve ours.
 */
export function memoryMiB({ pid, role }: RunningProcess): number {
  const proportional = role === 'postgres' ? /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? '') : null;
  const found = proportional ?? /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '');
  return found ? Number(found[1]) / 1024 : 0;
}

/** Open sockets of a process. */
export function openSockets(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
      } catch {
        return false;
      }
    }).length;
  } catch {
    return 0;
  }
}

function listProc(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** The fields after the command name, which may itself hold spaces and parentheses: [0] is the state. */
function statFields(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function parentOf(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields && Number(fields[1]);
}

function roleOf(pid: number, isRoot: boolean): string | undefined {
  const words = (read(`/proc/${pid}/cmdline`) ?? '').split('\0');
  const program = basename(words[0] ?? '');
  if (program.startsWith('envoy')) return 'envoy';
  if (program.startsWith('postgres')) return 'postgres';
  const role = words.find((word) => word === 'processor' || word === 'control-plane' || word === 'demo');
  return role ?? (isRoot ? 'supervisor' : undefined);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
