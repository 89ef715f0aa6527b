import { startUpstream } from './upstream.ts';

// The benchmark's upstream in a process of its own: the load generator must not share its event loop.
const upstream = await startUpstream(process.argv[2] ?? '');
process.on('disconnect', () => process.exit(0));
process.send?.({ url: upstream.url });
