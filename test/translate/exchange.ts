/** Exchanges as far as translation looks at them. */
import { randomBytes } from 'node:crypto';
import { createVault } from '../../src/credentials/vault.ts';
import type { ClientHop, Exchange, UpstreamCall } from '../../src/exchange/exchange.ts';
import { clientCapabilities } from '../../src/mcp/capabilities.ts';
import { parseEnvelope } from '../../src/mcp/envelope.ts';
import type { Era } from '../../src/mcp/revision.ts';
import { glob } from '../../src/policy/glob.ts';
import { createHandles } from '../../src/sessions/handles.ts';
import type { Connection, UriSpace } from '../../src/snapshot/snapshot.ts';
import { Translation } from '../../src/translate/translation.ts';

export const handles = createHandles(createVault(randomBytes(32).toString('hex')));

/** Every URI gets `up+` in front. */
export const prefixed: UriSpace = {
  isIdentity: false,
  toWire: (_connection, uri) => `up+${uri}`,
  fromWire: () => undefined,
};
export const identity: UriSpace = { isIdentity: true, toWire: (_connection, uri) => uri, fromWire: () => undefined };

export interface Setting {
  readonly client: Era;
  readonly upstream: Era;
  readonly method?: string;
  /** JSON texts. */
  readonly id?: string;
  readonly token?: string;
  readonly mintedId?: string;
  readonly mintedToken?: string;
  readonly logLevel?: string;
  readonly capabilities?: unknown;
  /** Of the upstream. */
  readonly offers?: Record<string, unknown>;
  readonly uris?: UriSpace;
  readonly session?: string;
  /** Globs of the caller's persona; everything where they are not given. */
  readonly tools?: { readonly allow: readonly string[]; readonly deny: readonly string[] };
}

const ALL = { allow: ['*'], deny: [] };

export function exchangeOf(setting: Setting): { exchange: Exchange; call: UpstreamCall } {
  const { client, upstream, method = 'tools/call', id = '1', token, uris = identity, tools = ALL } = setting;
  const meta = token === undefined ? '' : `,"_meta":{"progressToken":${token}}`;
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"name":"x"${meta}}}`);
  const hop: ClientHop = {
    era: client,
    protocolVersion: '',
    capabilities: clientCapabilities(JSON.stringify(setting.capabilities ?? {})),
    clientName: '',
    logLevel: setting.logLevel,
  };
  const connection = {
    name: 'up',
    catalog: { era: upstream, capabilities: setting.offers ?? {} },
  } as unknown as Connection;
  const exchange = {
    envelope: parseEnvelope(body),
    body,
    client: hop,
    connection,
    namespace: { uris },
    principal: { binding: 'api_key:me' },
    persona: {
      tools: { allow: tools.allow.map(glob), deny: tools.deny.map(glob) },
      connections: { allow: [glob('*')], deny: [] },
    },
    session: setting.session === undefined ? undefined : { id: setting.session },
  } as unknown as Exchange;
  const call = {
    via: 'upstream',
    mintedId: setting.mintedId,
    mintedToken: setting.mintedToken,
  } as unknown as UpstreamCall;
  return { exchange, call };
}

export function translationOf(setting: Setting): Translation {
  const { exchange, call } = exchangeOf(setting);
  return new Translation(exchange, call, handles);
}
