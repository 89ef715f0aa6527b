import { createHash, type Hash } from 'node:crypto';
import { REDACTED } from '../config/document.ts';
import type { Sockets } from '../runtime/sockets.ts';
import { type RevisionDocument, routeName } from '../snapshot/revision.ts';
import { encodeResource, type PlainResource } from '../wire.ts';
import { connectionCluster } from './clusters.ts';
import { egressListener, frontListener, mcpListener } from './listeners.ts';
import { egressRoutes, mcpRoutes, type RouteTarget } from './routes.ts';
import { certificateSecret, type Pem, trustSecret } from './secrets.ts';
import { KINDS, type Kind } from './type-urls.ts';

/** What a revision's document leaves out, because it is this deployment's or secret. */
export interface XdsContext {
  readonly mcpHost: string;
  readonly mcpPort: number;
  readonly sockets: Pick<Sockets, 'egress' | 'front'>;
  readonly listenerTls?: ListenerTls | undefined;
  readonly publicRootsPem: Pem;
  /** By connection id: what `tls` of the connection says, resolved. */
  readonly connectionTls: ReadonlyMap<string, ConnectionTls>;
}

export interface ListenerTls {
  readonly certPem: string;
  readonly keyPem: string;
  readonly clientCaPem?: string | undefined;
}

export interface ConnectionTls {
  readonly caPem?: string | undefined;
  readonly certPem?: string | undefined;
  readonly keyPem?: string | undefined;
}

/** One encoded resource; the same bytes have the same version. */
export interface XdsResource {
  readonly name: string;
  readonly version: string;
  readonly plain: PlainResource;
  readonly typeUrl: string;
  readonly bytes: Buffer;
}

/** Everything that one Envoy gets, by kind and name. */
export interface XdsResources extends Readonly<Record<Kind, ReadonlyMap<string, XdsResource>>> {
  /** Hash over all of it. */
  readonly version: string;
}

/**
 * A revision as Envoy resources. Pure. Throws a WireError (path and reason) if Envoy would refuse the result, so call
 * it before a revision is stored.
 */
export function compileXds(document: RevisionDocument, context: XdsContext): XdsResources {
  const { maxRequestBytes } = document.settings;
  const targets: RouteTarget[] = document.tenants.flatMap(({ id, connections }) =>
    connections
      .filter(({ config }) => config.enabled)
      .map((connection) => ({ route: routeName(id, connection.name), connection })),
  );
  const secrets = new Map<string, PlainResource>();
  const clusters = targets.map(({ route, connection }) => {
    const { config } = connection;
    const { caPem, certPem, keyPem } = context.connectionTls.get(connection.id) ?? {};
    const withCertificate = certPem !== undefined && keyPem !== undefined;
    if (withCertificate) secrets.set(route, certificateSecret(route, certPem, keyPem));
    if (config.url.startsWith('https:') && caPem === undefined && config.tls?.insecure !== true)
      secrets.set(PUBLIC_ROOTS, trustSecret(PUBLIC_ROOTS, context.publicRootsPem));
    const clientCertificate = withCertificate ? route : undefined;
    return connectionCluster({ name: route, config, caPem, clientCertificate, publicRoots: PUBLIC_ROOTS });
  });
  const tls = context.listenerTls;
  if (tls !== undefined) secrets.set(LISTENER, certificateSecret(LISTENER, tls.certPem, tls.keyPem));
  if (tls?.clientCaPem !== undefined) secrets.set(CLIENT_CA, trustSecret(CLIENT_CA, { inline: tls.clientCaPem }));
  return assemble({
    secrets: [...secrets.values()],
    clusters,
    listeners: [
      mcpListener({
        host: context.mcpHost,
        port: context.mcpPort,
        maxRequestBytes,
        tls: tls && { certificate: LISTENER, clientCa: tls.clientCaPem === undefined ? undefined : CLIENT_CA },
      }),
      frontListener(context.sockets.front, maxRequestBytes),
      egressListener(context.sockets.egress, maxRequestBytes),
    ],
    routes: [mcpRoutes(targets, maxRequestBytes), egressRoutes(targets, maxRequestBytes)],
  });
}

// No connection's name: those hold a slash.
const LISTENER = 'listener';
const CLIENT_CA = 'listener-client-ca';

/** Names of the secrets without which the MCP listener cannot speak; those of connections are named after them. */
export const LISTENER_SECRETS: ReadonlySet<string> = new Set([LISTENER, CLIENT_CA]);
const PUBLIC_ROOTS = 'public-roots';

/**
 * `next` together with what only `previous` has: published while processors still work from the previous revision.
 * Publish `next` alone once they have all switched, and what it lacks is removed.
 */
export function withPrevious(next: XdsResources, previous: XdsResources): XdsResources {
  const union = (kind: Kind) => [...new Map([...previous[kind], ...next[kind]]).values()].map(({ plain }) => plain);
  return assemble({
    secrets: union('secrets'),
    clusters: union('clusters'),
    listeners: union('listeners'),
    routes: union('routes').map((routes) => keepRoutes(routes, previous.routes.get(String(routes.name))?.plain)),
  });
}

function keepRoutes(next: PlainResource, previous: PlainResource | undefined): PlainResource {
  const [host] = next.virtual_hosts as [{ routes: { name: string }[] }];
  const [before] = (previous?.virtual_hosts ?? [{ routes: [] }]) as [{ routes: { name: string }[] }];
  const names = new Set(host.routes.map(({ name }) => name));
  const kept = before.routes.filter(({ name }) => !names.has(name));
  // Ahead of the last one, which refuses.
  return {
    ...next,
    virtual_hosts: [{ ...host, routes: [...host.routes.slice(0, -1), ...kept, ...host.routes.slice(-1)] }],
  };
}

/** The resources as people may read them: plain objects, private keys withheld. */
export function dumpXds(resources: XdsResources): Readonly<Record<Kind, readonly PlainResource[]>> {
  const kinds = KINDS.map((kind) => [kind, [...resources[kind].values()].map(({ plain }) => plain)]);
  const withhold = (key: string, value: unknown) => (key === 'private_key' ? REDACTED : value);
  return JSON.parse(JSON.stringify(Object.fromEntries(kinds), withhold));
}

function assemble(plain: Readonly<Record<Kind, readonly PlainResource[]>>): XdsResources {
  const hash = createHash('sha256');
  const encode = (kind: Kind): ReadonlyMap<string, XdsResource> => {
    const resources = plain[kind].map((resource): XdsResource => {
      const name = String(resource.name);
      const { typeUrl, bytes } = encodeResource(resource);
      const version = shortHash(createHash('sha256').update(bytes));
      hash.update(`${kind} ${name} ${version}\n`);
      return { name, version, plain: resource, typeUrl, bytes };
    });
    return new Map(resources.map((resource) => [resource.name, resource]));
  };
  const byKind = {
    secrets: encode('secrets'),
    clusters: encode('clusters'),
    listeners: encode('listeners'),
    routes: encode('routes'),
  };
  return { ...byKind, version: shortHash(hash) };
}

const shortHash = (hash: Hash): string => hash.digest('hex').slice(0, 16);
