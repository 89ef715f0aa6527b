/** Requests that one relay passes on to another. */
import t from 'tap';
import type { Entry, RelayResponse } from '../../src/relay/world.ts';
import { eventually } from '../support/eventually.ts';
import { type Listener, smallRelay } from './small-relay.ts';

const NOTHING = Buffer.alloc(0);

t.test('GETs pass to the relay that is named, and no further', async (t) => {
  const streams = new Set<RelayResponse>();
  const headers: unknown[] = [];
  let passedBack: string | undefined;
  const hold: Entry = async (request, response, world) => {
    headers.push(request.headers);
    streams.add(response);
    response.stream.once('close', () => streams.delete(response));
    passedBack ??= await world.peers.pass(near.world.relayId, request, NOTHING, response);
    if (request.url === '/full/mcp') response.writeHead(429, { 'x-sallyport-judgement': 'none of yours' }).end('full');
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: begun\n\n');
  };
  const far = await smallRelay(t, { eventStream: hold, work: {} });
  let fate: string | undefined;
  const near = await smallRelay(
    t,
    {
      async eventStream(request, response, world) {
        fate = await world.peers.pass(far.world.relayId, request, NOTHING, response);
        if (fate !== 'passed') response.writeHead(503).end();
      },
      work: {},
    },
    far,
  );
  far.addresses.set(near.world.relayId, near.address);

  t.equal((await near.ask('GET', '/mcp')).status, 503, 'nobody knows where that relay is');
  near.addresses.set(far.world.relayId, '127.0.0.1:1');
  t.equal((await near.ask('GET', '/mcp')).status, 503);
  t.equal(fate, 'unreached');
  near.addresses.set(far.world.relayId, far.address);

  const open = async (path = '/mcp'): Promise<Listener> => {
    const stream = await near.listen(path, { headers: { 'last-event-id': 'e7' } });
    t.match(await stream.next(), { data: 'begun' });
    return stream;
  };
  const kept = await open();
  t.equal(passedBack, 'unreached', 'what has come this way once goes no further');
  t.match(headers[0], { ':authority': '127.0.0.1:8080', ':path': '/mcp', 'last-event-id': 'e7', authorization: /./ });
  const full = await near.ask('GET', '/full/mcp');
  t.match(full, { status: 429, text: 'full' });
  t.equal(full.headers['x-sallyport-judgement'], undefined);

  // nghttp2 ends a connection on which about a thousand were reset.
  for (let i = 0; i < 40; i++) {
    const some = await Promise.all(Array.from({ length: 40 }, () => open()));
    for (const one of some) one.close();
  }
  await eventually(() => streams.size === 1);
  const [last] = streams;
  last?.write('data: still here\n\n');
  t.match(await kept.next(), { data: 'still here' });

  // As many at a time as two connections carry.
  const many = await Promise.all(Array.from({ length: 700 }, () => open()));
  t.equal(streams.size, 701);
  many[0]?.pause();
  for (const one of streams) one.write(`data: ${'x'.repeat(100_000)}\n\n`);
  t.equal((await many[699]?.next())?.data.length, 100_000, 'one that does not read holds up nobody');
  for (const one of many) one.close();
  last?.end();
  t.equal((await kept.next())?.data.length, 100_000);
  t.equal(await kept.next(), undefined, 'an end there is an end here');

  t.equal((await near.ask('GET', '/mcp', { headers: { 'x-sallyport-ticket': 'forged' } })).status, 403);
});
