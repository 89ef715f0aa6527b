/** The command line: every command, the options that all of them have, and what the exit code says. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { packageVersion } from '../package-root.ts';
import { serverUrl } from './arguments.ts';
import { auditCommands } from './audit.ts';
import { clientCommands } from './client.ts';
import { configCommands } from './config.ts';
import { connectionCommands } from './connection.ts';
import { CommandFailed, UsageError } from './failure.ts';
import { keyCommands } from './key.ts';
import { namespaceCommands } from './namespace.ts';
import { personaCommands } from './persona.ts';
import { roleCommands } from './roles.ts';
import { ruleCommands } from './rule.ts';
import { sourceCommands } from './source.ts';
import { stateCommands } from './state.ts';
import { toolCommands } from './tool.ts';

const DONE = 0;
const FAILED = 1;
const USAGE = 2;

/** Runs one command line (without node and the script); the exit code is 0 done, 1 failed, 2 usage. */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  // The benchmark reads its own command line.
  if (argv[0] === 'bench') return (await import('../bench/run.ts')).runBench(argv.slice(1));
  try {
    await createProgram().parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? DONE);
  } catch (error) {
    return explain(error);
  }
}

function createProgram(): Command {
  const program = new Command('sallyport')
    .description('An MCP gateway on Envoy: one endpoint in front of every MCP server a team uses.')
    .version(packageVersion, '-V, --version', 'print the version')
    .option('--json', 'print JSON')
    .addOption(
      new Option('--server <url>', "the gateway's admin API (default: of the gateway that runs here)")
        .env('SALLYPORT_SERVER')
        .argParser(serverUrl),
    )
    .addOption(new Option('--token <token>', 'its admin token').env('SALLYPORT_ADMIN_TOKEN'))
    .addOption(
      new Option('--data-dir <directory>', 'where "up" keeps its state')
        .env('SALLYPORT_DATA_DIR')
        .default('.sallyport'),
    )
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows how to call it)')
    .exitOverride();
  roleCommands(program);
  program.command('bench').description('measure what the gateway costs (npm run bench -- --help)');
  configCommands(program);
  connectionCommands(program);
  namespaceCommands(program);
  personaCommands(program);
  sourceCommands(program);
  ruleCommands(program);
  keyCommands(program);
  toolCommands(program);
  auditCommands(program);
  clientCommands(program);
  stateCommands(program);
  return program;
}

function explain(error: unknown): number {
  // Commander has printed the help or what is wrong already. Help without being asked for means a command is missing.
  if (error instanceof InvalidArgumentError) return say(error.message, USAGE);
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : USAGE;
  if (error instanceof UsageError) return say(error.message, USAGE);
  if (error instanceof CommandFailed) return error.message === '' ? FAILED : say(error.message, FAILED);
  if (!(error instanceof Error)) return say(String(error), FAILED);
  // Errors with a code come from the system, plain and named ones carry a sentence for the operator; others are bugs.
  const isBug = /^(Type|Range|Reference|Syntax)Error$/.test(error.name) || error.name === 'AssertionError';
  return say(isBug ? (error.stack ?? error.message) : error.message, FAILED);
}

function say(message: string, code: number): number {
  process.stderr.write(`sallyport: ${message}\n`);
  return code;
}
