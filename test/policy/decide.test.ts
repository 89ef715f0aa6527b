import fc from 'fast-check';
import t from 'tap';
import { decide, decideUri, personaOf } from '../../src/policy/decide.ts';
import { glob } from '../../src/policy/glob.ts';
import type { Persona, Tenant } from '../../src/snapshot/snapshot.ts';

interface Lists {
  allow?: string[];
  deny?: string[];
}

function persona(
  name: string,
  tools: Lists,
  connections: Lists = { allow: ['*'] },
  extra: Partial<Persona> = {},
): Persona {
  const compile = ({ allow = [], deny = [] }: Lists) => ({ allow: allow.map(glob), deny: deny.map(glob) });
  return {
    name,
    tenant: 'default',
    roles: new Set(),
    subjects: new Set(),
    priority: 0,
    tools: compile(tools),
    connections: compile(connections),
    ...extra,
  };
}

t.test('every combination of allow, deny and default, for tool and connection', async (t) => {
  const lists: Record<string, Lists> = {
    allow: { allow: ['x*'] },
    deny: { allow: ['x*'], deny: ['x*'] },
    default: { allow: ['other'] },
  };
  for (const [toolList, tools] of Object.entries(lists)) {
    for (const [connectionList, connections] of Object.entries(lists)) {
      const decision = decide(persona('p', tools, connections), 'x__tool', 'x');
      t.equal(
        decision.allowed,
        toolList === 'allow' && connectionList === 'allow',
        `tool ${toolList}, connection ${connectionList}`,
      );
      const decider =
        toolList === 'deny'
          ? 'tools'
          : connectionList === 'deny'
            ? 'connections'
            : toolList === 'default'
              ? 'tools'
              : connectionList === 'default'
                ? 'connections'
                : 'tools';
      t.equal(decision.list, decider);
      if (decision.source !== 'default') t.equal(decision.pattern, 'x*');
    }
  }
  t.match(decide(undefined, 'x', 'x'), { allowed: false, source: 'none' });
});

t.test('adding a deny never widens access', async () => {
  const pattern = fc.stringMatching(/^[ab_*?]{1,6}$/);
  const name = fc.stringMatching(/^[ab_]{1,8}$/);
  fc.assert(
    fc.property(
      fc.array(pattern, { maxLength: 4 }),
      fc.array(pattern, { maxLength: 4 }),
      pattern,
      name,
      name,
      (allow, deny, more, tool, connection) => {
        const before = decide(persona('p', { allow, deny }), tool, connection).allowed;
        const after = decide(persona('p', { allow, deny: [...deny, more] }), tool, connection).allowed;
        const narrowed = decide(
          persona('p', { allow, deny }, { allow: ['*'], deny: [more] }),
          tool,
          connection,
        ).allowed;
        return (before || !after) && (before || !narrowed);
      },
    ),
    { numRuns: 5000 },
  );
});

t.test('globs match as their regular expressions do, and hostile ones stay quick', async (t) => {
  fc.assert(
    fc.property(fc.stringMatching(/^[ab.*?]{0,8}$/), fc.stringMatching(/^[ab.]{0,10}$/), (pattern, name) => {
      const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`);
      return glob(pattern).matches(name) === expression.test(name);
    }),
    { numRuns: 20_000 },
  );
  const hostile = glob(`${'*a'.repeat(200)}b`);
  const began = performance.now();
  t.notOk(hostile.matches('a'.repeat(5000)));
  t.ok(performance.now() - began < 1000, 'no exponential search');
  t.ok(glob('[a]').matches('[a]'), 'brackets are not special');
});

t.test('a subject beats roles, priority beats names, nobody fits means none', async (t) => {
  const low = persona('a-low', {}, {}, { roles: new Set(['r']), priority: 1 });
  const high = persona('z-high', {}, {}, { roles: new Set(['r', 's']), priority: 5 });
  const named = persona('named', {}, {}, { subjects: new Set(['ci']), priority: -1 });
  const tenant = { personas: [high, low, named] } as unknown as Tenant;
  t.equal(personaOf(tenant, 'ci', ['r']), named);
  t.equal(personaOf(tenant, 'x', ['r']), high);
  t.equal(personaOf(tenant, 'x', ['q']), undefined);
});

t.test('a URI is judged as its upstream may read it, too', async (t) => {
  const open = persona('p', { allow: ['fs__file:///open/?*'] });
  const closed = persona('p', { allow: ['*'], deny: ['fs__file:///secret/*'] });
  t.ok(decideUri(open, 'fs', 'file:///open/a b').allowed);
  t.ok(decideUri(closed, 'fs', 'memo:secret').allowed);
  t.ok(decideUri(closed, 'fs', '../no URI%').allowed);
  for (const uri of ['file:///open/../secret/a', 'file:///open/%2e%2E/secret/a', 'file:///open/./../secret/a']) {
    t.notOk(decideUri(open, 'fs', uri).allowed, uri);
    t.notOk(decideUri(closed, 'fs', uri).allowed, uri);
  }
  for (const uri of ['FILE:///secret/a', 'file:///%73ecret/a', 'file:/secret/a', 'file://localhost/secret/a']) {
    t.notOk(decideUri(closed, 'fs', uri).allowed, uri);
  }
});
