import t from 'tap';
import { clientCapabilities, mayBeAsked, NO_CAPABILITIES } from '../../src/mcp/capabilities.ts';
import { parseEnvelope } from '../../src/mcp/envelope.ts';
import { negotiate } from '../../src/mcp/revision.ts';

const KEY = 'io.modelcontextprotocol/';
const read = (meta: string) =>
  parseEnvelope(Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":${meta}}}`));

t.test('a claim is a claim, whatever it says', async (t) => {
  for (const version of ['"2026-07-28"', '"nonsense"', '7', 'null', '{}']) {
    const { meta } = read(`{"${KEY}protocolVersion":${version}}`);
    t.equal(meta?.claimsModern, true, version);
    t.equal(meta?.protocolVersion, version.startsWith('"') ? version.slice(1, -1) : undefined);
  }
  t.equal(read('{"progressToken":1}').meta?.claimsModern, false);
  t.equal(read(`{"x":{"${KEY}protocolVersion":"2026-07-28"}}`).meta?.claimsModern, false, 'one level down is no claim');
  t.equal(read('null').meta, undefined);
  t.equal(
    read(`{"io.modelcontextprotocol\\/protocolVersion":"2026-07-28"}`).meta?.claimsModern,
    true,
    'an escape hides nothing',
  );
});

t.test('a key that comes twice in _meta is refused', async (t) => {
  t.throws(() => read(`{"${KEY}protocolVersion":"2026-07-28","${KEY}protocolVersion":"2025-11-25"}`));
  t.throws(() => read(`{"progressToken":1,"progress\\u0054oken":2}`));
});

t.test('each member is taken in its own type only', async (t) => {
  const { meta, bytes } = read(
    `{"${KEY}clientCapabilities":{"roots":{}},"${KEY}clientInfo":[1],"${KEY}logLevel":5,"progressToken":9007199254740993}`,
  );
  t.equal(bytes.toString('utf8', meta?.capabilities?.start, meta?.capabilities?.end), '{"roots":{}}');
  t.equal(meta?.clientInfo, undefined);
  t.equal(meta?.logLevel, undefined);
  t.equal(bytes.toString('utf8', meta?.progressToken?.start, meta?.progressToken?.end), '9007199254740993');
});

t.test('what a client may be asked', async (t) => {
  const may = (capabilities: unknown, method: string, mode?: string) =>
    mayBeAsked(clientCapabilities(JSON.stringify(capabilities)), method, mode);
  t.equal(may({ elicitation: {} }, 'elicitation/create', undefined), true, 'an empty object is the form');
  t.equal(may({ elicitation: {} }, 'elicitation/create', 'form'), true);
  t.equal(may({ elicitation: {} }, 'elicitation/create', 'url'), false);
  t.equal(may({ elicitation: { url: {} } }, 'elicitation/create', 'form'), false);
  t.equal(may({ elicitation: { url: {} } }, 'elicitation/create', 'url'), true);
  t.equal(may({ elicitation: { url: {}, form: {} } }, 'elicitation/create', undefined), true);
  t.equal(may({ sampling: {} }, 'sampling/createMessage'), true);
  t.equal(may({ sampling: true }, 'sampling/createMessage'), false, 'not an object is no declaration');
  t.equal(may({ roots: [] }, 'roots/list'), false);
  t.equal(may({ roots: {} }, 'sampling/createMessage'), false);
  t.equal(may({ roots: {}, sampling: {}, elicitation: {} }, 'tools/call'), false, 'nothing else can be asked');
  t.equal(NO_CAPABILITIES.answers.size, 0);
  for (const odd of ['null', '5', '[]', '"x"']) t.equal(clientCapabilities(odd).answers.size, 0, odd);
  t.same([...clientCapabilities('{"extensions":{"a/b":{},"c/d":1}}').extensions], ['a/b', 'c/d']);
  t.equal(clientCapabilities('{"sampling":{"tools":{}}}').samplesWithTools, true);
});

t.test('versions are negotiated', async (t) => {
  for (const version of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']) t.equal(negotiate(version), version);
  for (const version of [undefined, '', '2026-07-28', '1999-01-01', '2024-10-07'])
    t.equal(negotiate(version), '2025-11-25');
});
