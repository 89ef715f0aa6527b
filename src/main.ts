/** The one program: every role and every command, chosen by its first argument. */
import { runCommandLine } from './cli/program.ts';

// `sallyport audit list | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runCommandLine(process.argv.slice(2));
// A role has finished, well or badly; its channel to the supervisor would keep the process.
if (process.channel) process.exit();
