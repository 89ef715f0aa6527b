/** Commands that run a part of the gateway instead of talking to one. Each loads its part only when it is called. */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { toldToStop } from '../runtime/told-to-stop.ts';
import { port, wholeNumber } from './arguments.ts';
import { UsageError } from './failure.ts';
import type { GlobalOptions } from './session.ts';

/** An option with its twin in the environment: `--admin-port` is SALLYPORT_ADMIN_PORT. */
function twin(flags: string, description: string): Option {
  const long = /--([a-z-]+)/.exec(flags)?.[1] ?? '';
  return new Option(flags, description).env(`SALLYPORT_${long.toUpperCase().replaceAll('-', '_')}`);
}

export function roleCommands(program: Command): void {
  up(program);
  controlPlane(program);
  processor(program);
  relay(program);
  demo(program);
}

interface UpFlags {
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly config?: string;
  readonly mcpConfig?: string;
  readonly workers: number;
  readonly relays: number;
  readonly envoyConcurrency?: number;
}

/** A call costs Envoy and a processor about the same, so each side gets half of the machine. */
const defaultWorkers = (): number => Math.min(4, Math.max(1, Math.floor(availableParallelism() / 2)));

function up(program: Command): void {
  program
    .command('up')
    .description('run the whole gateway on this machine until Ctrl-C')
    .addOption(twin('--config <file>', 'configuration file (sallyport.yaml); read again when it changes'))
    .addOption(twin('--mcp-config <file>', 'mcpServers file of an MCP client; adds connections'))
    .addOption(twin('--host <host>', 'where the MCP listener listens').default('127.0.0.1'))
    .addOption(twin('--port <port>', 'its port; 0 picks a free one').argParser(port).default(8080))
    .addOption(twin('--admin-host <host>', 'where the admin API listens').default('127.0.0.1'))
    .addOption(twin('--admin-port <port>', 'its port; 0 picks a free one').argParser(port).default(8081))
    .addOption(
      twin('--workers <number>', 'processor processes').argParser(wholeNumber(1, 64)).default(defaultWorkers()),
    )
    .addOption(twin('--relays <number>', 'relay processes').argParser(wholeNumber(1, 64)).default(1))
    .addOption(
      twin('--envoy-concurrency <number>', "Envoy's worker threads (default: as many as processors)").argParser(
        wholeNumber(1, 64),
      ),
    )
    .action(async (flags: UpFlags, self: Command) => {
      const { dataDir, json } = self.optsWithGlobals<GlobalOptions>();
      const { runUp } = await import('../supervisor/up.ts');
      process.exitCode = await runUp({ ...flags, dataDir, json });
    });
}

interface ControlPlaneFlags {
  readonly runtimeDir: string;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly mcpHost: string;
  readonly mcpPort: number;
  readonly config?: string;
  readonly mcpConfig?: string;
  readonly demoUrl?: string;
  readonly egress?: string;
}

function controlPlane(program: Command): void {
  program
    .command('control-plane')
    .description('run the control plane alone: configuration, xDS and the admin API')
    .addOption(twin('--runtime-dir <directory>', 'where the sockets are').makeOptionMandatory())
    .addOption(twin('--admin-host <host>', 'where the admin API listens').default('127.0.0.1'))
    .addOption(twin('--admin-port <port>', 'its port').argParser(port).default(8081))
    .addOption(twin('--mcp-host <host>', 'where Envoy listens for MCP').default('127.0.0.1'))
    .addOption(twin('--mcp-port <port>', 'its port').argParser(port).default(8080))
    .addOption(twin('--config <file>', 'configuration file'))
    .addOption(twin('--mcp-config <file>', 'mcpServers file'))
    .addOption(twin('--egress <address>', 'unix:PATH, http://HOST:PORT or direct (default: the egress socket)'))
    .addOption(new Option('--demo-url <url>').hideHelp())
    .action(async (flags: ControlPlaneFlags) => {
      const { config, mcpConfig, ...rest } = flags;
      const options = {
        ...rest,
        files: { config: absolute(config), mcpConfig: absolute(mcpConfig) },
        databaseUrl: needed('DATABASE_URL'),
        secretKey: needed('SALLYPORT_SECRET_KEY'),
        adminToken: needed('SALLYPORT_ADMIN_TOKEN'),
        env: process.env,
      };
      const [{ runControlPlane }, { createLogger }] = await Promise.all([
        import('../control-plane/run.ts'),
        import('../telemetry/log.ts'),
      ]);
      await runControlPlane({ ...options, log: createLogger('control-plane', logLevel()) });
    });
}

interface ProcessorFlags {
  readonly runtimeDir?: string;
  readonly index: number;
  readonly listen?: string;
  readonly egress?: string;
  readonly mcpHost: string;
}

function processor(program: Command): void {
  program
    .command('processor')
    .description('run one processor alone: what Envoy asks about every exchange')
    .addOption(twin('--runtime-dir <directory>', 'where the sockets are'))
    .addOption(twin('--index <number>', 'which of the workers this is').argParser(wholeNumber(0, 63)).default(0))
    .addOption(twin('--listen <address>', 'unix:PATH or tcp:HOST:PORT, for an Envoy that is not ours'))
    .addOption(twin('--egress <address>', 'unix:PATH, http://HOST:PORT or direct'))
    .addOption(twin('--mcp-host <host>', 'where Envoy listens for MCP').default('127.0.0.1'))
    .action(async (flags: ProcessorFlags) => {
      if (flags.runtimeDir === undefined && flags.listen === undefined) {
        throw new UsageError('A processor needs --runtime-dir (beside our own Envoy) or --listen (for another one).');
      }
      const options = {
        ...flags,
        databaseUrl: needed('DATABASE_URL'),
        secretKey: needed('SALLYPORT_SECRET_KEY'),
        logLevel: logLevel(),
        env: process.env,
      };
      const { runProcessor } = await import('../processor/run.ts');
      process.exitCode = await runProcessor(options);
    });
}

interface RelayFlags {
  readonly runtimeDir: string;
  readonly index: number;
  readonly listen?: string;
  readonly egress?: string;
  readonly mcpHost: string;
}

function relay(program: Command): void {
  program
    .command('relay')
    .description("run one relay alone: event streams, and calls between the protocol's two eras")
    .addOption(twin('--runtime-dir <directory>', 'where the sockets are').makeOptionMandatory())
    .addOption(twin('--index <number>', 'which of the relays this is').argParser(wholeNumber(0, 63)).default(0))
    .addOption(twin('--listen <address>', 'tcp:HOST:PORT, for relays on other machines'))
    .addOption(twin('--egress <address>', 'unix:PATH, http://HOST:PORT or direct (default: the egress socket)'))
    .addOption(twin('--mcp-host <host>', 'where Envoy listens for MCP').default('127.0.0.1'))
    .action(async (flags: RelayFlags) => {
      const options = {
        ...flags,
        databaseUrl: needed('DATABASE_URL'),
        secretKey: needed('SALLYPORT_SECRET_KEY'),
        logLevel: logLevel(),
        env: process.env,
      };
      const { runRelay } = await import('../relay/run.ts');
      process.exitCode = await runRelay(options);
    });
}

function demo(program: Command): void {
  program
    .command('demo')
    .description('run the demo MCP server alone')
    .addOption(twin('--port <port>', 'its port on loopback; 0 picks a free one').argParser(port).default(0))
    .action(async (flags: { port: number }) => {
      const { runDemo } = await import('../demo/server.ts');
      const server = await runDemo(flags);
      if (process.connected) process.send?.({ type: 'ready', demoUrl: server.url });
      else process.stderr.write(`The demo server listens at ${server.url}\n`);
      await toldToStop();
      await server.close();
      process.exit(0);
    });
}

const absolute = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(path));

const logLevel = (): string => process.env.LOG_LEVEL || 'info';

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new UsageError(`${name} is not set. "sallyport up" takes care of it; a role alone needs it.`);
  return value;
}
