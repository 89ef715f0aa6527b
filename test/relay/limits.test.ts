/** What one caller can have of a relay. */
import t from 'tap';
import { Questions } from '../../src/relay/bridge/questions.ts';
import { createListen } from '../../src/relay/listen/entry.ts';
import { sealTicket, TICKET_HEADER } from '../../src/relay/ticket.ts';
import { eventually } from '../support/eventually.ts';
import { smallRelay } from './small-relay.ts';

t.test('listens of one principal', async (t) => {
  const r = await smallRelay(t, { work: { listen: createListen(2) } });
  const listen = (subject: string) => {
    const principal = { tenant: 'default', subject, roles: [], method: 'internal', binding: subject } as const;
    const client = { era: 'modern', protocolVersion: '2026-07-28', capabilities: '{}', clientName: '', logLevel: null };
    const decided = { work: 'listen', requestId: 'r', tenant: 'default', namespace: 'docs', principal } as const;
    const ticket = { ...decided, session: null, client, connection: null, question: null } as never;
    return {
      headers: { [TICKET_HEADER]: sealTicket(r.world.vault, ticket, Date.now()) },
      body: '{"jsonrpc":"2.0","id":9007199254740993,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}',
    };
  };
  const [first] = await Promise.all([r.listen('/relay', listen('ann')), r.listen('/relay', listen('ann'))]);
  t.match((await first?.next())?.data, 'acknowledged');
  const third = await r.ask('POST', '/relay', listen('ann'));
  t.equal(third.status, 429);
  t.match(JSON.parse(third.text), { error: { code: -32000, message: /at most 2 of one caller/ } });
  t.match(third.text, '"id":9007199254740993,');
  t.equal((await r.listen('/relay', listen('bob'))).status, 200, 'nobody else is held up');
  first?.close();
  await eventually(async () => {
    const again = await r.listen('/relay', listen('ann'));
    return again.status === 200;
  });
});

t.test('questions to the clients of one principal', async (t) => {
  const questions = new Questions(2);
  const ann = { id: 's1', tenant: 'default', binding: 'ann' };
  const other = { ...ann, id: 's2' };
  const one = questions.ask(ann);
  const two = questions.ask(other);
  t.equal(questions.ask(ann), undefined);
  t.ok(questions.ask({ ...ann, binding: 'bob' }));
  t.ok(questions.answer(one?.id ?? '', 's1', { kind: 'result', bytes: Buffer.from('{}') }));
  t.notOk(questions.withdraw(one?.id ?? ''), 'once');
  t.ok(questions.ask(ann));
  t.equal(questions.ask(ann), undefined);
  t.ok(questions.withdraw(two?.id ?? ''));
  t.ok(questions.ask(ann));
});
