// `npm run conformance`: the official conformance suite against the fixture and the gateway. Arguments choose legs:
// `npm run conformance -- direct gateway`.
import { prepare } from './bootstrap.mjs';
import { root } from './step.mjs';

await prepare({ envoyFor: `${root}/.sallyport`, announce: true });
await import('../dist/test/conformance/main.js');
