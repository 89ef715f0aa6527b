#!/usr/bin/env node
// The command. What is missing (packages and a build in a clone, Envoy for `up`) is put right first; then dist/ runs.
import { prepare } from './bootstrap.mjs';

const args = process.argv.slice(2);
const verb = args.find((arg) => !arg.startsWith('-'));
const asksForHelp = args.some((arg) => arg === '--help' || arg === '-h');

await prepare({ envoyFor: verb === 'up' && !asksForHelp ? dataDirOf(args) : undefined, announce: verb === 'up' });
await import('../dist/src/main.js');

/** The data directory as `up` will see it: Envoy is kept there. */
function dataDirOf(args) {
  const at = args.findIndex((arg) => arg === '--data-dir' || arg.startsWith('--data-dir='));
  const given = at < 0 ? undefined : args[at].includes('=') ? args[at].slice('--data-dir='.length) : args[at + 1];
  return given || process.env.SALLYPORT_DATA_DIR || '.sallyport';
}
