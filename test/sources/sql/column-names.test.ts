import t from 'tap';
import { distinctNames } from '../../../src/sources/sql/column-names.ts';

t.test('names are told apart, and none that was written is taken', async (t) => {
  t.same(distinctNames(['a', 'a', 'b', 'a_2', 'a', '__proto__', '__proto__']), [
    'a',
    'a_3',
    'b',
    'a_2',
    'a_4',
    '__proto__',
    '__proto___2',
  ]);
});

t.test('a source that says it has very many columns of one name takes no time', async (t) => {
  const { user } = process.cpuUsage();
  const names = distinctNames(new Array<string>(200_000).fill('a'));
  t.equal(names.at(-1), 'a_200000');
  t.equal(new Set(names).size, 200_000);
  t.ok(process.cpuUsage().user - user < 5_000_000);
});
