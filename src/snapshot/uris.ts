/**
 * Resource URIs of several upstreams in one space, without state. `notes` has `file:///a`, clients see `notes+file:///a`:
 * another scheme, so what comes back says whose it is. `ui://` keeps its scheme, by which MCP Apps know it, and gets the
 * alias as its host; `http:` and `https:` stay as they are, because clients may fetch those themselves.
 */
import { createHash } from 'node:crypto';
import type { Connection, UriSpace } from './snapshot.ts';
import { fitsTemplate, readTemplate, type UriTemplate } from './uri-template.ts';
import type { Prefixing } from './wire-names.ts';

/** The URI space of a namespace with these members, in their order. */
export function uriSpace(connections: readonly Connection[], prefixing: Prefixing): UriSpace {
  const isIdentity = prefixing === 'never' || (connections.length === 1 && prefixing !== 'always');
  return isIdentity ? identitySpace(connections) : aliasSpace(connections);
}

/** One member owns all of it; of several, the first that offers a URI, as it is the first in the list. */
function identitySpace(connections: readonly Connection[]): UriSpace {
  const offers = offersOf(connections);
  return {
    isIdentity: true,
    toWire: (_connection, uri) => uri,
    fromWire(uri) {
      const connection = connections.length === 1 ? connections[0] : (offers.of(uri)[0] ?? offers.only());
      return connection === undefined ? undefined : { connection, uri };
    },
  };
}

function aliasSpace(connections: readonly Connection[]): UriSpace {
  const byAlias = aliases(connections);
  const aliasOf = new Map([...byAlias].map(([alias, connection]) => [connection.name, alias]));
  const offers = offersOf(connections);
  const withAlias = (connection: Connection, uri: string): string => `${aliasOf.get(connection.name)}+${uri}`;
  return {
    isIdentity: false,
    toWire(connection, uri) {
      if (isApp(uri)) return `${uri.slice(0, APP.length)}${aliasOf.get(connection.name)}/${uri.slice(APP.length)}`;
      if (!isWeb(uri)) return withAlias(connection, uri);
      // As it is, unless that could be read as another member's.
      const isTemplate = uri.includes('{');
      const isClear =
        (isTemplate ? offers.web() : offers.of(uri)).every(({ name }) => name === connection.name) &&
        (!isTemplate || readTemplate(uri) !== undefined);
      return isClear ? uri : withAlias(connection, uri);
    },
    fromWire(wire) {
      const end = isApp(wire) ? wire.indexOf('/', APP.length) : wire.indexOf('+');
      const start = isApp(wire) ? APP.length : 0;
      // Schemes are compared without case, and some clients write them in lower case (RFC 3986 §3.1).
      const connection = end < 0 ? undefined : byAlias.get(wire.slice(start, end).toLowerCase());
      if (connection !== undefined) return { connection, uri: wire.slice(0, start) + wire.slice(end + 1) };
      const owners = offers.of(wire);
      const owner = owners.length === 0 ? offers.only() : owners.length === 1 ? owners[0] : undefined;
      return owner === undefined ? undefined : { connection: owner, uri: wire };
    },
  };
}

const APP = 'ui://';
const isApp = (uri: string): boolean => uri.slice(0, APP.length).toLowerCase() === APP;
const isWeb = (uri: string): boolean => /^https?:/i.test(uri);

/**
 * Alias → member. An alias is the beginning of a scheme (RFC 3986 §3.1: a letter, then letters, digits, `-`, `.`), and
 * the same whoever else is there: the name, where that is one; else its like with a hash of the name.
 */
function aliases(connections: readonly Connection[]): Map<string, Connection> {
  const given = new Map<string, Connection>();
  const isPlain = (name: string): boolean => /^[a-z][a-z0-9.-]*$/.test(name);
  for (const connection of connections) if (isPlain(connection.name)) given.set(connection.name, connection);
  for (const connection of connections) {
    if (isPlain(connection.name)) continue;
    const like = connection.name
      .toLowerCase()
      .replace(/[^a-z0-9.-]/g, '-')
      .replace(/^(?![a-z])/, 'c');
    const hash = createHash('sha256').update(connection.name).digest('hex');
    let digits = 6;
    while (given.has(`${like}-${hash.slice(0, digits)}`)) digits += 2;
    given.set(`${like}-${hash.slice(0, digits)}`, connection);
  }
  return given;
}

/** Who offers which URIs, as far as lists and templates tell. */
interface Offers {
  /** Members that list it; else members with a template that it fits. In the members' order. */
  of(uri: string): readonly Connection[];
  /** Members with anything under `http:` or `https:`. */
  web(): readonly Connection[];
  /** The member that has resources at all, if there is just one. */
  only(): Connection | undefined;
}

/** Read at first use: most URIs say by themselves whose they are. */
function offersOf(connections: readonly Connection[]): Offers {
  let index: OfferIndex | undefined;
  const read = (): OfferIndex => {
    index ??= readOffers(connections);
    return index;
  };
  return {
    of(uri) {
      const { listed, templates } = read();
      return listed.get(uri) ?? connections.filter((one) => templates.get(one)?.some((own) => fitsTemplate(uri, own)));
    },
    web: () => read().web,
    only() {
      const able = connections.filter(({ catalog }) => catalog.capabilities.resources !== undefined);
      return able.length === 1 ? able[0] : undefined;
    },
  };
}

interface OfferIndex {
  readonly listed: ReadonlyMap<string, readonly Connection[]>;
  readonly templates: ReadonlyMap<Connection, readonly UriTemplate[]>;
  readonly web: readonly Connection[];
}

function readOffers(connections: readonly Connection[]): OfferIndex {
  const listed = new Map<string, Connection[]>();
  const templates = new Map<Connection, UriTemplate[]>();
  const web: Connection[] = [];
  for (const connection of connections) {
    const { catalog } = connection;
    for (const { name } of catalog.resources) {
      const owners = listed.get(name);
      if (owners === undefined) listed.set(name, [connection]);
      else owners.push(connection);
    }
    templates.set(
      connection,
      catalog.templates.map(({ name }) => readTemplate(name)).filter((read) => read !== undefined),
    );
    if ([...catalog.resources, ...catalog.templates].some(({ name }) => isWeb(name))) web.push(connection);
  }
  return { listed, templates, web };
}
