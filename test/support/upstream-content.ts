/** What the upstreams of both eras offer unless a test says otherwise: something of every kind, with URIs in all places. */

export interface Content {
  readonly tools: { name: string; [key: string]: unknown }[];
  readonly prompts: { name: string; [key: string]: unknown }[];
  readonly resources: { uri: string; [key: string]: unknown }[];
  readonly templates: { uriTemplate: string; [key: string]: unknown }[];
}

const object = { type: 'object' };

export const standardContent = (): Content => ({
  tools: [
    { name: 'echo', inputSchema: object },
    { name: 'links', inputSchema: object },
    { name: 'held', inputSchema: object },
    {
      name: 'placed',
      inputSchema: {
        type: 'object',
        properties: {
          region: { type: 'string', 'x-mcp-header': 'Region' },
          count: { type: 'integer', 'x-mcp-header': 'Count' },
          deep: { type: 'object', properties: { flag: { type: 'boolean', 'x-mcp-header': 'Flag' } } },
        },
      },
    },
    { name: 'odd', inputSchema: { type: 'object', properties: { a: { type: 'number', 'x-mcp-header': 'A' } } } },
  ],
  prompts: [{ name: 'greet', arguments: [{ name: 'who', required: true }] }, { name: 'held-prompt' }],
  resources: [
    { uri: 'file:///a.txt', name: 'a' },
    { uri: 'memo:insights', name: 'memo' },
    { uri: 'ui://app/main', name: 'app' },
    { uri: 'file:///held', name: 'held' },
  ],
  templates: [{ uriTemplate: 'file:///logs/{day}', name: 'logs' }],
});

type Params = Readonly<Record<string, unknown>>;

/** A result that says what arrived. */
export const echoResult = (params: Params = {}) => ({
  content: [{ type: 'text', text: JSON.stringify({ arguments: params.arguments, _meta: params._meta }) }],
});

/** URIs in each place that a tool result has for them, and in some that are none. */
export const linksResult = () => ({
  content: [
    { type: 'resource_link', uri: 'file:///a.txt', name: 'a' },
    { type: 'resource', resource: { uri: 'memo:insights', text: 'file:///a.txt' } },
    { type: 'resource_link', uri: 'https://example.com/x', name: 'web' },
    { type: 'text', text: 'file:///a.txt' },
  ],
  structuredContent: { uri: 'file:///a.txt' },
});

export const promptResult = (params: Params = {}) => ({
  messages: [
    { role: 'user', content: { type: 'text', text: `hello ${JSON.stringify(params.arguments ?? {})}` } },
    { role: 'user', content: { type: 'resource', resource: { uri: 'file:///a.txt', text: 'x' } } },
  ],
});

/** undefined: there is no such resource. */
export function readResult({ resources }: Content, uri: unknown) {
  const known = resources.some((one) => one.uri === uri) || String(uri).startsWith('file:///logs/');
  return known ? { contents: [{ uri, text: `text of ${String(uri)}` }] } : undefined;
}

export const completionResult = ({ ref, argument }: Params) => ({
  completion: { values: [JSON.stringify(ref), JSON.stringify(argument)], total: 2, hasMore: false },
});

/** Of a server that has all of it, in either era. */
export const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  completions: {},
  logging: {},
};
