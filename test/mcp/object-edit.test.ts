import fc from 'fast-check';
import t from 'tap';
import { skipSpace, skipValue } from '../../src/mcp/json.ts';
import { insertMembers, removeMembers, replaceMembers } from '../../src/mcp/object-edit.ts';
import { splice } from '../../src/mcp/splice.ts';

const space = fc.constantFrom('', ' ', '\n', '\t ', '\r\n');
const value = fc.oneof(
  fc.json({ maxDepth: 2 }),
  fc.constantFrom('9007199254740993', '1e400', '"a,b}"', '{ "x" : [1 , 2] }', '"\\u0022"', '{}'),
);
const key = fc.oneof(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.string({ maxLength: 4 }));

/** The text of an object with any spacing, between two texts that must stay as they are. */
const written = fc
  .tuple(fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 6 }), fc.array(space))
  .map(([members, spaces]) => {
    let at = 0;
    const gap = (): string => (spaces.length === 0 ? '' : (spaces[at++ % spaces.length] as string));
    const inner = members
      .map(([name, text]) => `${gap()}${JSON.stringify(name)}${gap()}:${gap()}${text}${gap()}`)
      .join(',');
    return { members, text: `{${inner === '' ? gap() : inner}}` };
  });

const spanOf = (bytes: Buffer, start: number) => ({ start, end: skipValue(bytes, start, 0) });

/** Objects by their members' texts, in order: what JSON.parse would lose of numbers is compared too. */
function membersOf(text: string): [string, string][] {
  const bytes = Buffer.from(text);
  const found: [string, string][] = [];
  let at = skipSpace(bytes, 1);
  while (bytes[at] !== 0x7d) {
    const keyEnd = skipValue(bytes, at, 0);
    const name = JSON.parse(bytes.toString('utf8', at, keyEnd)) as string;
    const start = skipSpace(bytes, skipSpace(bytes, keyEnd) + 1);
    const end = skipValue(bytes, start, 0);
    found.push([name, bytes.toString('utf8', start, end)]);
    at = skipSpace(bytes, end);
    if (bytes[at] === 0x2c) at = skipSpace(bytes, at + 1);
  }
  return found;
}

t.test('members that are removed are gone, all others keep their bytes and their order', async () => {
  fc.assert(
    fc.property(written, fc.array(key), fc.string(), ({ members, text }, unwanted, before) => {
      const bytes = Buffer.from(`${before}${text}tail`);
      const object = spanOf(bytes, Buffer.byteLength(before));
      const result = splice(
        bytes,
        removeMembers(bytes, object, 0, (name) => unwanted.includes(name)),
      ).toString();
      const after = result.slice(before.length, -4);
      JSON.parse(after);
      const expected = members.filter(([name]) => !unwanted.includes(name));
      return (
        result.startsWith(before) &&
        result.endsWith('tail') &&
        JSON.stringify(membersOf(after)) === JSON.stringify(expected)
      );
    }),
    { numRuns: 5000 },
  );
});

t.test('nothing to remove changes nothing', async (t) => {
  const bytes = Buffer.from('{ "a" : 1 , "b":2 }');
  t.same(
    removeMembers(bytes, spanOf(bytes, 0), 0, () => false),
    [],
  );
});

t.test('members that are inserted come first, all others keep their bytes', async () => {
  fc.assert(
    fc.property(written, ({ members, text }) => {
      const bytes = Buffer.from(text);
      const result = splice(bytes, [insertMembers(bytes, spanOf(bytes, 0), '"new!":1,"newer!":{}')]).toString();
      JSON.parse(result);
      return (
        result.endsWith(text.slice(1)) &&
        JSON.stringify(membersOf(result)) === JSON.stringify([['new!', '1'], ['newer!', '{}'], ...members])
      );
    }),
    { numRuns: 3000 },
  );
});

t.test('both at once, as a request that changes its era', async () => {
  fc.assert(
    fc.property(written, fc.array(key), ({ members, text }, unwanted) => {
      const bytes = Buffer.from(text);
      const edits = replaceMembers(bytes, spanOf(bytes, 0), 0, (name) => unwanted.includes(name), [
        '"new!":1',
        '"b!":{}',
      ]);
      const result = splice(bytes, edits).toString();
      JSON.parse(result);
      const kept = members.filter(([name]) => !unwanted.includes(name));
      return JSON.stringify(membersOf(result)) === JSON.stringify([['new!', '1'], ['b!', '{}'], ...kept]);
    }),
    { numRuns: 3000 },
  );
});
