/**
 * The gateway as a client, for the suite to examine: `client.js ADMIN_URL ADMIN_TOKEN MCP_URL SUITE_URL`. Puts the
 * suite's server behind a running gateway, at an endpoint of its own, and uses whatever is offered there.
 */
import { randomBytes } from 'node:crypto';
import { Client, StreamableHTTPClientTransport, type Tool } from '@modelcontextprotocol/client';
import { eventually } from '../support/eventually.ts';

/** The suite says these of the scenario: which revision its server speaks, and calls that it wants made. */
const revision = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? '';
const { toolCalls = [] } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}') as { toolCalls?: ToolCall[] };
/** Has the server ask for OAuth, which the gateway does not do towards upstreams. */
const needsOAuth = process.env.MCP_CONFORMANCE_SCENARIO?.startsWith('auth/') ?? false;

/** For an answer. The suite ends a client that takes too long, and one that is ended cannot clean up. */
const ANSWER = { timeout: 8_000 };

interface ToolCall {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
}

const [adminUrl = '', adminToken = '', mcpUrl = '', suiteUrl = ''] = process.argv.slice(2);
if (!needsOAuth) await behindTheGateway(async (url, tools) => useEverything(await connectTo(url), tools));

/**
 * One connection, in one namespace, for as long as `use` takes. Both are removed after it: the suite's server waits
 * until the gateway has let go of it.
 */
async function behindTheGateway(use: (url: string, tools: number) => Promise<void>): Promise<void> {
  const name = `suite-${randomBytes(4).toString('hex')}`;
  await admin('POST', 'connections', { name, url: suiteUrl });
  try {
    await admin('POST', 'namespaces', { name, connections: [name], prefix: 'never' });
    const status = () => admin('GET', `connections/${name}/status`);
    await eventually(async () => (await status()).state === 'ready', 20_000);
    const { tools = 0 } = await status();
    const url = new URL(`/${name}/mcp`, mcpUrl).href;
    await eventually(async () => (await statusOf(url)) !== 404);
    await use(url, tools);
  } finally {
    for (const path of [`namespaces/${name}`, `connections/${name}`]) await admin('DELETE', path);
  }
}

async function admin(method: string, path: string, body?: unknown): Promise<{ state?: string; tools?: number }> {
  const response = await fetch(`${adminUrl}/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? {} : (JSON.parse(text) as { state?: string; tools?: number });
}

async function statusOf(url: string): Promise<number> {
  const response = await fetch(url, { method: 'POST', body: '{}' });
  await response.body?.cancel();
  return response.status;
}

async function connectTo(url: string): Promise<Client> {
  const isModern = revision >= '2026-07-28';
  const client = new Client(
    { name: 'conformance', version: '1.0.0' },
    {
      capabilities: { elicitation: { form: {} } },
      versionNegotiation: { mode: isModern ? { pin: revision } : 'legacy' },
    },
  );
  client.setRequestHandler('elicitation/create', ({ params }) => ({
    action: 'accept',
    content: 'requestedSchema' in params ? (fitting(params.requestedSchema) as Record<string, string>) : {},
  }));
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
}

/** Every tool, resource and prompt, once. What fails is told and no reason to stop: the suite sees what it needs. */
async function useEverything(client: Client, expected: number): Promise<void> {
  const offers = client.getServerCapabilities() ?? {};
  const attempt = async (what: string, use: () => Promise<unknown>): Promise<void> => {
    await use().catch((error: Error) => process.stderr.write(`${what}: ${error.message}\n`));
  };
  if (offers.tools) {
    // A processor learns of a catalog a moment after it was stored.
    const { tools } = await eventually(async () => {
      const list = await client.listTools();
      return list.tools.length >= expected && list;
    });
    const calls = toolCalls.length > 0 ? toolCalls : tools.map((tool) => callOf(tool, tools));
    for (const call of calls) await attempt(call.name, () => client.callTool(call, ANSWER));
  }
  if (offers.resources) {
    const { resources } = await client.listResources();
    for (const { uri } of resources) await attempt(uri, () => client.readResource({ uri }, ANSWER));
  }
  if (offers.prompts) {
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await attempt(name, () => client.getPrompt({ name }, ANSWER));
  }
  await client.close();
}

/** Arguments that a tool takes. One argument has a meaning: a tool that takes a `schema` is given another tool's. */
function callOf({ name, inputSchema }: Tool, tools: readonly Tool[]): ToolCall {
  const args = fitting(inputSchema);
  if ('schema' in args) args.schema = tools.find((tool) => tool.name !== name)?.inputSchema;
  return { name, arguments: args };
}

interface Schema {
  readonly type?: unknown;
  readonly default?: unknown;
  readonly properties?: Record<string, unknown> | undefined;
}

/** An object for a schema: every property with its default, or with any value of its type. */
function fitting({ properties = {} }: Schema): Record<string, unknown> {
  const valueFor = ({ type, default: value }: Schema): unknown => {
    if (value !== undefined) return value;
    return { string: 'text', number: 1.5, integer: 2, boolean: true, array: [], object: {} }[String(type)] ?? null;
  };
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, valueFor(schema as Schema)]));
}
