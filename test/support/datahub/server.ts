/**
 * A DataHub for tests: a GraphQL engine over the published schema (as far as we ask for it), at `/api/graphql`, for whoever
 * has the token. What DataHub does that its schema does not say is done here too: any URN that could be gives an entity, one
 * that could not be fails the whole list.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  buildSchema,
  execute,
  GraphQLError,
  type GraphQLFieldResolver,
  type GraphQLSchema,
  parse,
  validate,
} from 'graphql';
import { packageRoot } from '../../../src/package-root.ts';
import { ENTITIES, type Known, LINEAGE, ME, TRINO } from './entities.ts';

export const TOKEN = 'datahub-token';
export const SCHEMA_PATH = join(packageRoot, 'test/support/datahub/schema.graphql');

export interface AskedDataHub {
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

export interface DataHubServer {
  readonly url: string;
  /** Requests that reached the engine. */
  readonly asked: AskedDataHub[];
  /** Sockets that were opened. */
  readonly connections: () => number;
  /** Answers in the engine's place, where it is set. */
  behave: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  CORP_USER: 'CorpUser',
  CORP_GROUP: 'CorpGroup',
  DASHBOARD: 'Dashboard',
  DATASET: 'Dataset',
  DATA_FLOW: 'DataFlow',
  DATA_JOB: 'DataJob',
  DOMAIN: 'Domain',
  GLOSSARY_NODE: 'GlossaryNode',
  GLOSSARY_TERM: 'GlossaryTerm',
  RESTRICTED: 'Restricted',
};

export async function startDataHub(): Promise<DataHubServer> {
  const schema = buildSchema(readFileSync(SCHEMA_PATH, 'utf8'));
  const asked: AskedDataHub[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    if (started.behave !== undefined) return started.behave(request, response);
    void answer(schema, asked, request, response);
  });
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const started: DataHubServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    connections: () => connections,
    behave: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return started;
}

async function answer(
  schema: GraphQLSchema,
  asked: AskedDataHub[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const send = (status: number, body?: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json;charset=utf-8' }).end(JSON.stringify(body));
  };
  if (request.url !== '/api/graphql') return send(404);
  if (request.method !== 'POST') return send(405);
  if (request.headers.authorization !== `Bearer ${TOKEN}`) return send(401);
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { query, variables } = JSON.parse(Buffer.concat(chunks).toString()) as AskedDataHub;
  asked.push({ query, variables });
  const document = parse(query);
  const errors = validate(schema, document);
  if (errors.length > 0) return send(200, { errors });
  send(
    200,
    await execute({ schema, document, rootValue: ROOT, variableValues: variables, fieldResolver, typeResolver }),
  );
}

const typeResolver = (value: unknown): string | undefined => TYPES[(value as Known).type];

/** Members of an entity, and what belongs to none of them. */
const fieldResolver: GraphQLFieldResolver<unknown, unknown> = (source, args, _context, { fieldName }) => {
  const value = (source as Readonly<Record<string, unknown>>)[fieldName];
  if (fieldName === 'lineage') return lineage(source as Known, args as LineageArguments);
  return typeof value === 'function' ? value(args) : value;
};

interface SearchInput {
  readonly query: string;
  readonly types?: readonly string[];
  readonly count?: number;
  readonly orFilters?: readonly {
    readonly and: readonly { readonly field: string; readonly values: readonly string[] }[];
  }[];
}

const ROOT = {
  me: { corpUser: ME },
  appConfig: { appVersion: 'v1.5.0' },
  entity: ({ urn }: { urn: string }) => entity(urn),
  entities: ({ urns }: { urns: string[] }) => urns.map(entity),
  searchAcrossEntities({ input }: { input: SearchInput }) {
    const found = [...ENTITIES.values()].filter((one) => fits(one, input));
    const count = input.count ?? 10;
    return { total: found.length, searchResults: found.slice(0, count).map((one) => ({ entity: one })) };
  },
};

function entity(urn: string): Known | undefined {
  const known = ENTITIES.get(urn);
  if (known !== undefined) return known;
  const [, namespace, kind, key] = /^urn:([^:]+):([^:]+):(.+)$/.exec(urn) ?? [];
  if (namespace !== 'li' || key === undefined) throw failed('Failed to retrieve entities: invalid urn', 500);
  if (kind === 'glossaryTerm') return { urn, type: 'GLOSSARY_TERM', exists: false };
  if (kind === 'domain') return { urn, type: 'DOMAIN' };
  if (kind !== 'dataset') return undefined;
  const parts = /^\(urn:li:dataPlatform:[^,()]+,([^,()]+),[A-Z]+\)$/.exec(key);
  if (parts === null) throw failed('Failed to batch load Datasets', 500);
  return { urn, type: 'DATASET', name: parts[1], platform: TRINO, exists: false };
}

const failed = (message: string, code: number): GraphQLError => new GraphQLError(message, { extensions: { code } });

function fits(one: Known, { query, types, orFilters }: SearchInput): boolean {
  if (types !== undefined && !types.includes(one.type)) return false;
  if ((one.status as { removed?: boolean } | undefined)?.removed === true) return false;
  const platforms = orFilters?.flatMap(({ and }) => and).filter(({ field }) => field === 'platform') ?? [];
  const urn = (one.platform as Known | undefined)?.urn;
  if (platforms.some(({ values }) => urn === undefined || !values.includes(urn))) return false;
  const text = JSON.stringify([one.name, one.properties, one.editableProperties]).toLowerCase();
  return (
    query === '*' ||
    query
      .toLowerCase()
      .split(/\s+/)
      .some((word) => text.includes(word))
  );
}

interface LineageArguments {
  readonly input: { readonly direction: string; readonly count?: number };
}

function lineage({ urn }: Known, { input }: LineageArguments): unknown {
  const isUp = input.direction === 'UPSTREAM';
  const related = LINEAGE.filter(([up, down]) => (isUp ? down : up).urn === urn).map(([up, down]) =>
    isUp ? up : down,
  );
  const relationships = related
    .slice(0, input.count ?? 100)
    .map((one) => ({ type: 'DownstreamOf', degree: 1, entity: one }));
  return { total: related.length, relationships };
}
