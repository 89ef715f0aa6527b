import { pino } from 'pino';
import { startEmbeddedPostgres } from '../../src/storage/embedded.ts';

// A parent to be killed: starts the embedded Postgres, says so, and stays.
const [dataDir = '', runtimeDir = ''] = process.argv.slice(2);
const log = pino({ level: 'silent' });
const server = await startEmbeddedPostgres({ dataDir, runtimeDir, log, onProgress: () => {} });
process.stdout.write(`${JSON.stringify({ url: server.url, pid: server.pid })}\n`);
setInterval(() => {}, 60_000);
