/** A DataHub: its GraphQL over HTTP. */
import type { DataHubSource } from '../../config/document.ts';
import { isObject, type Json, type JsonObject, jsonText, parseJson } from '../../mcp/exact-json.ts';
import { assertPlain, type HttpClient, openHttpClient, type Sent } from '../http-client.ts';
import { type Asked, type Rendered, type SourceAnswer, type SourceClient, SourceError } from '../source.ts';
import { QUERIES, type Query } from './queries.ts';
import { list, textAt, valueAt } from './read.ts';
import { refusalOf } from './refusal.ts';
import { rowsOf } from './shape.ts';
import type { DataHubRendered } from './template.ts';

/**
 * Bytes of one answer. More than a rule's own limit: GraphQL spells out what is not there, and rows leave that out; the
 * rule's limit is for them.
 */
const MAX_ANSWER = 8 * 1024 * 1024;
const ENDPOINT = '/api/graphql';

/** `config.url`: of the metadata service, of the frontend, or of the GraphQL endpoint itself. */
export function openDataHub(config: DataHubSource): SourceClient {
  const url = endpointOf(config.url);
  const token = config.token as string | undefined;
  const client = openHttpClient({
    url,
    name: 'DataHub',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    maxBytes: MAX_ANSWER,
    onlyReads: true,
    refuse: refusalOf,
  });
  const run = (query: Query, variables: JsonObject, signal: AbortSignal): Promise<JsonObject> =>
    dataFor(client, { method: 'POST', path: url.search, body: jsonText({ query: QUERIES[query], variables }), signal });
  return {
    async ask(rendered: Rendered, asked: Asked): Promise<SourceAnswer> {
      const { query, variables, answers } = rendered as DataHubRendered;
      if (query === 'entities' && (variables.urns as readonly Json[]).length === 0) return NOTHING;
      const { signal, maxRows, maxBytes } = asked;
      return limited(rowsOf(await run(query, variables, signal), answers), maxRows, maxBytes);
    },
    async test(signal) {
      const data = await run('hello', {}, signal);
      const version = textAt(data, 'appConfig', 'appVersion');
      const user = textAt(data, 'me', 'corpUser', 'username');
      return {
        ok: true,
        server: version === undefined ? 'DataHub' : `DataHub ${version}`,
        ...(user === undefined ? {} : { notes: [`asks as ${user}`] }),
      };
    },
    async close() {
      client.close();
    },
  };
}

const NOTHING: SourceAnswer = { rows: [], isTruncated: false };

function endpointOf(written: string): URL {
  const url = new URL(written);
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = /\/api\/(?:v\d+\/)?graphql$/.test(path) ? path : path + ENDPOINT;
  return url;
}

async function dataFor(client: HttpClient, sent: Sent): Promise<JsonObject> {
  const said = await client.send(sent);
  assertPlain('DataHub', said);
  let answer: Json;
  try {
    answer = parseJson(said.body.toString());
  } catch (cause) {
    throw new SourceError('bad answer', 'DataHub answered with something that is not JSON: is the URL right?', {
      cause,
    });
  }
  return dataOf(answer);
}

/**
 * GraphQL gives what it can: where some fields failed (their part is null), the rest is used. Nothing at all, and errors,
 * is a refusal.
 */
function dataOf(answer: Json): JsonObject {
  const data = valueAt(answer, 'data');
  const [error] = list(valueAt(answer, 'errors'));
  if (isObject(data) && (error === undefined || Object.values(data).some((value) => value !== null))) return data;
  if (error === undefined) throw new SourceError('bad answer', 'DataHub answered with neither data nor errors');
  const message = (textAt(error, 'message') ?? 'no reason given').slice(0, 500);
  throw new SourceError(kindOf(error, message), `DataHub refused: ${message}`);
}

function kindOf(error: JsonObject, message: string): SourceError['kind'] {
  const code = valueAt(error, 'extensions', 'code');
  if (code === 503) return 'unavailable';
  return code === 400 || message.startsWith('Variable ') ? 'bad value' : 'refused';
}

function limited(rows: readonly JsonObject[], maxRows: number, maxBytes: number): SourceAnswer {
  const kept: JsonObject[] = [];
  let bytes = 0;
  for (const row of rows) {
    bytes += Buffer.byteLength(jsonText(row)) + 1;
    if (kept.length === maxRows || bytes > maxBytes) return { rows: kept, isTruncated: true };
    kept.push(row);
  }
  return { rows: kept, isTruncated: false };
}
