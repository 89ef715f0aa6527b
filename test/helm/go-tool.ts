import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/package-root.ts';

const run = promisify(execFile);

/**
 * Path of a program written in Go: from PATH where `command` is given and found, else built once from its module into
 * the package's own cache. Undefined, with the reason, where neither is possible.
 */
export async function goTool(tool: {
  readonly module: string;
  readonly version: string;
  /** Accepted from PATH when it answers to these arguments. */
  readonly onPath?: readonly [command: string, ...args: string[]];
}): Promise<{ path: string } | { path: undefined; why: string }> {
  if (tool.onPath) {
    const [command, ...args] = tool.onPath;
    if (await answers(command, args)) return { path: command };
  }
  const name = tool.module.split('/').at(-1) ?? '';
  const directory = join(packageRoot, '.sallyport', 'tools', `${name}-${tool.version}`);
  const path = join(directory, name);
  if (existsSync(path)) return { path };
  if (!(await answers('go', ['version']))) return { path: undefined, why: `neither ${name} nor Go is installed` };
  mkdirSync(directory, { recursive: true });
  try {
    await run('go', ['install', `${tool.module}@${tool.version}`], {
      env: { ...process.env, GOBIN: directory },
      maxBuffer: 1 << 24,
    });
    return { path };
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? error).trim();
    return { path: undefined, why: `Go could not build ${name} ${tool.version}: ${said.split('\n').at(-1)}` };
  }
}

function answers(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}
