import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { SourceError } from '../../../src/sources/source.ts';
import { eventually } from '../../support/eventually.ts';
import { startPostgres } from '../../support/postgres.ts';
import { createCa } from '../../xds/certificates.ts';
import { ask, open } from './opened.ts';

/** A message of the protocol: its letter, its length, its content. */
function message(letter: string, content: Buffer | string = ''): Buffer {
  const body = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(letter), length, body]);
}
const READY = message('Z', 'I');
const WELCOME = Buffer.concat([
  message('R', Buffer.alloc(4)),
  message('K', Buffer.from([0, 0, 0, 7, 0, 0, 0, 9])),
  READY,
]);
const done = (tag: string) => message('C', `${tag}\0`);
const parsed = Buffer.concat([message('1'), message('2')]);
/** One column `a` of text. */
const COLUMNS = message('T', Buffer.from('\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0', 'latin1'));
const row = (text: string) => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(text.length);
  return message('D', Buffer.concat([Buffer.from([0, 1]), length, Buffer.from(text)]));
};
const begun = Buffer.concat([parsed, done('BEGIN'), parsed, done('SET')]);
const ended = Buffer.concat([parsed, done('ROLLBACK'), parsed, row(''), done('SELECT 1'), READY]);

/** A server that greets as Postgres does, and then says what the test says. */
async function pretend(t: Test, respond: (socket: Socket, request: Buffer) => void, welcome: Buffer = WELCOME) {
  const sockets = new Set<Socket>();
  const cancels: Buffer[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let isGreeted = false;
    socket.on('data', (request) => {
      if (request.length === 16 && request.readInt32BE(4) === 80_877_102) {
        cancels.push(request);
        socket.end();
      } else if (!isGreeted) {
        isGreeted = true;
        socket.write(welcome);
      } else if (request[0] === 0x51) socket.write(Buffer.concat([done('SET'), READY]));
      else if (request[0] !== 0x58) respond(socket, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `postgres://user:hush@127.0.0.1:${port}/db`, sockets, cancels };
}

t.test('the pretended server can tell the truth', async (t) => {
  const truth = Buffer.concat([begun, parsed, COLUMNS, row('x'), done('SELECT 1'), ended]);
  const { url } = await pretend(t, (socket) => socket.write(truth));
  const client = open(t, url);
  for (let i = 0; i < 3; i++) t.strictSame((await ask(client, 'select 1')).rows, [{ a: 'x' }]);
});

t.test('a server that hangs, before or after its greeting, is given up', async (t) => {
  for (const [when, welcome] of [
    ['before', Buffer.alloc(0)],
    ['after', WELCOME],
  ] as const) {
    const { url, cancels } = await pretend(t, () => {}, welcome);
    const client = open(t, url, { maxConcurrent: 1 });
    for (let i = 0; i < 3; i++) {
      const controller = new AbortController();
      const reason = new SourceError('timeout', 'no answer');
      setTimeout(() => controller.abort(reason), 40);
      await t.rejects(ask(client, 'select 1', {}, { signal: controller.signal }), reason, when);
    }
    if (when === 'before') continue;
    await eventually(() => cancels.length > 0);
    t.strictSame(
      [...(cancels[0] as Buffer).subarray(8)],
      [0, 0, 0, 7, 0, 0, 0, 9],
      'with the key that the server gave',
    );
  }
});

t.test('lies end a connection, not the process', async (t) => {
  const lies: [what: string, bytes: Buffer, kind: string][] = [
    ['a row before its columns', Buffer.concat([begun, parsed, row('x'), done('SELECT 1'), ended]), 'bad answer'],
    ['the end at once', READY, 'bad answer'],
    ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'bad answer'],
    ['a row cut short', message('D', Buffer.from([0, 9, 0, 0])), 'bad answer'],
    ['columns without an end', message('T', Buffer.from([0x7f, 0xff, 0x61])), 'bad answer'],
    [
      'an endless message',
      Buffer.concat([Buffer.from('D\x3f\xff\xff\xff', 'latin1'), Buffer.alloc(4_000_000)]),
      'too large',
    ],
    [
      'something to copy',
      Buffer.concat([begun, parsed, message('G', Buffer.from([0, 0, 0])), done('COPY'), ended]),
      '',
    ],
  ];
  for (const [what, bytes, kind] of lies) {
    const { url } = await pretend(t, (socket) => socket.write(bytes));
    const client = open(t, url);
    const outcome = await ask(client, 'select 1', {}, { signal: AbortSignal.timeout(3_000) }).then(
      () => '',
      (error: SourceError) => error.kind,
    );
    t.equal(outcome, kind, what);
  }
});

t.test('whatever bytes come, a request ends', async (t) => {
  let bytes = Buffer.alloc(0);
  const { url } = await pretend(t, (socket) => socket.end(bytes));
  const client = open(t, url);
  const letters = fc.constantFrom(...'12CDEGHIKNRSTZnsctAVWdv'.split(''));
  const spoken = fc.array(
    fc.oneof(
      fc.constantFrom(begun, parsed, COLUMNS, row('x'), done('SELECT 1'), ended, READY),
      fc
        .tuple(letters, fc.uint8Array({ maxLength: 30 }))
        .map(([letter, content]) => message(letter, Buffer.from(content))),
      fc.uint8Array({ maxLength: 30 }).map((content) => Buffer.from(content)),
    ),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(spoken, async (parts) => {
      bytes = Buffer.concat(parts);
      try {
        await ask(client, 'select 1', {}, { signal: AbortSignal.timeout(5_000) });
      } catch (error) {
        if (!(error instanceof SourceError)) throw new Error(`not a SourceError: ${error}`);
        if (/hush/.test(error.message)) throw new Error('the password is in the message');
      }
    }),
    { numRuns: 400 },
  );
  t.pass();
});

t.test('greetings that are none', async (t) => {
  const refusal = message('E', 'SFATAL\0C28P01\0Mpassword authentication failed for user "user"\0\0');
  const greetings: [Buffer, RegExp][] = [
    [refusal, /password authentication failed/],
    [message('R', Buffer.from([0, 0, 0, 99])), /./],
    [Buffer.from('SSH-2.0-OpenSSH_9.9\r\n'), /./],
    [Buffer.alloc(3_000_000, 'N\0\0\0\x0cMhello\0\0'), /./],
  ];
  for (const [greeting, told] of greetings) {
    const { url } = await pretend(t, () => {}, greeting);
    const client = open(t, url);
    const error = await ask(client, 'select 1', {}, { signal: AbortSignal.timeout(8_000) }).catch((caught) => caught);
    t.notMatch(String(error), /hush/);
    if (!(error instanceof SourceError)) t.fail(`${greeting.subarray(0, 12)}: ${error}`);
    else t.match(error, { kind: /unavailable|bad answer/, message: told });
  }
});

t.test('over TLS, the certificate is verified and a cancellation is encrypted too', async (t) => {
  const postgres = await startPostgres();
  t.teardown(() => postgres.stop());
  const directory = new URL(postgres.urlOf('postgres')).searchParams.get('host');
  const ca = createCa('test');
  const { certPem, keyPem } = ca.issue('db', ['IP:127.0.0.1']);
  const context = createSecureContext({ cert: certPem, key: keyPem });
  const sockets = new Set<Socket>();
  let plain = 0;
  // Takes what a Postgres with `ssl = on` takes, and passes the rest on to one.
  const front = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.once('data', (request) => {
      if (request.readInt32BE(4) !== 80_877_103) {
        plain++;
        return socket.destroy();
      }
      socket.write('S');
      const secure = new TLSSocket(socket, { isServer: true, secureContext: context });
      const behind = connect(`${directory}/.s.PGSQL.5432`);
      sockets.add(behind);
      for (const one of [secure, behind]) one.on('error', () => {});
      secure.pipe(behind).pipe(secure);
    });
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    front.close();
  });
  const url = `postgres://postgres@127.0.0.1:${(front.address() as AddressInfo).port}/postgres`;
  const trusting = open(t, url, { tls: { ca: ca.certPem } });
  t.strictSame((await ask(trusting, 'select 1 as a')).rows, [{ a: 1 }]);
  const controller = new AbortController();
  const sleeping = ask(trusting, 'select pg_sleep(600)', {}, { signal: controller.signal });
  const running = async () =>
    (
      await ask(
        trusting,
        "select count(*) as n from pg_stat_activity where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()",
      )
    ).rows;
  await eventually(async () => JSON.stringify(await running()) === '[{"n":1}]');
  controller.abort(new Error('left'));
  await t.rejects(sleeping, /left/);
  await eventually(async () => JSON.stringify(await running()) === '[{"n":0}]');
  t.equal(plain, 0);
  await t.rejects(ask(open(t, `${url}?sslmode=require`), 'select 1'), { name: 'SourceError', kind: 'unavailable' });
  await t.rejects(ask(open(t, url, { tls: { ca: createCa('other').certPem } }), 'select 1'), {
    name: 'SourceError',
    kind: 'unavailable',
  });
  t.strictSame((await ask(open(t, `${url}?sslmode=no-verify`), 'select 1 as a')).rows, [{ a: 1 }]);
  t.equal(plain, 0);
});
