import {
  type ConnectionRevision,
  EDGE_ROUTE,
  LOCAL_REPLY_HEADER,
  RELAY_ROUTE,
  ROUTE_HEADER,
} from '../snapshot/revision.ts';
import type { PlainResource } from '../wire.ts';
import { EDGE_CLUSTER, RELAY_CLUSTER } from './bootstrap.ts';
import { bufferLimit } from './listeners.ts';
import { duration, KIND_TYPE, typeUrl } from './type-urls.ts';

export interface RouteTarget {
  /** Value of the route header, and the cluster's name. */
  readonly route: string;
  readonly connection: ConnectionRevision;
}

/**
 * Routes of the MCP listener: what is the relay's from the start; by our header to a connection, to the processor's own
 * HTTP service or to the relay; else refused.
 */
export function mcpRoutes(targets: readonly RouteTarget[], maxRequestBytes: number): PlainResource {
  const edge = byHeader(EDGE_ROUTE, { cluster: EDGE_CLUSTER, timeout: '15s' });
  const routes = targets.map(({ route, connection }) => {
    const { timeoutMs } = connection.config;
    // The whole-call limit holds for a streamed answer too. The idle limit only catches what outlives the upstream's
    // part: an agent or a processor that stopped reading.
    const limits = { timeout: duration(timeoutMs), idle_timeout: duration(timeoutMs + 30_000) };
    return byHeader(route, { cluster: route, ...limits, host_rewrite_literal: hostOf(connection) });
  });
  const relay = byHeader(RELAY_ROUTE, TO_RELAY);
  return configuration('mcp', maxRequestBytes, [edge, relay, ...routes], straightToRelay);
}

/** The relay has its own limits; a stream that lives is written to every 20 s. */
const TO_RELAY = { cluster: RELAY_CLUSTER, timeout: '0s', idle_timeout: '120s' };

/**
 * An ext_proc stream per event stream would be held for hours and decide nothing, so these go straight to the relay, which
 * identifies the caller and finds the session by the same steps. Without the route header only: after a decision of the
 * processor the path is the upstream's, and may be any of these.
 */
const straightToRelay: readonly object[] = [
  straight('event-streams', 'GET', '(/[A-Za-z0-9_.-]+)?/(mcp|sse)'),
  straight('sse-messages', 'POST', '(/[A-Za-z0-9_.-]+)?/messages'),
];

function straight(name: string, method: string, regex: string): object {
  const undecided = { name: ROUTE_HEADER, present_match: true, invert_match: true };
  return {
    name,
    match: { safe_regex: { regex }, headers: [{ name: ':method', string_match: { exact: method } }, undecided] },
    route: TO_RELAY,
    typed_per_filter_config: {
      'envoy.filters.http.ext_proc': {
        '@type': typeUrl('envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute'),
        disabled: true,
      },
      // No rules: the gate, which waits for the processor's decision, is off.
      'envoy.filters.http.rbac': { '@type': typeUrl('envoy.extensions.filters.http.rbac.v3.RBACPerRoute') },
      // Where no processor sees Envoy's own replies, their mark would reach the client.
      'envoy.filters.http.header_mutation': {
        '@type': typeUrl('envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute'),
        mutations: { response_mutations: [{ remove_on_match: { key_matcher: { exact: LOCAL_REPLY_HEADER } } }] },
      },
    },
  };
}

/**
 * Routes of the egress listener: the same connections, and the relay, which stands in for some of them; the caller's
 * deadline is the only limit.
 */
export function egressRoutes(targets: readonly RouteTarget[], maxRequestBytes: number): PlainResource {
  const routes = targets.map(({ route, connection }) =>
    byHeader(route, { cluster: route, timeout: '0s', host_rewrite_literal: hostOf(connection) }),
  );
  const relay = byHeader(RELAY_ROUTE, { cluster: RELAY_CLUSTER, timeout: '0s' });
  return configuration('egress', maxRequestBytes, [relay, ...routes]);
}

/** What Envoy adds or we set for Envoy; the processor cannot remove most of these itself. */
const NOT_FOR_UPSTREAMS = [
  ROUTE_HEADER,
  'x-forwarded-proto',
  'x-envoy-external-address',
  'x-envoy-internal',
  'x-envoy-expected-rq-timeout-ms',
];

function configuration(
  name: string,
  maxRequestBytes: number,
  routes: readonly object[],
  undecided: readonly object[] = [],
): PlainResource {
  return {
    '@type': KIND_TYPE.routes,
    name,
    request_headers_to_remove: NOT_FOR_UPSTREAMS,
    // From upstreams only: Envoy's own replies keep it.
    response_headers_to_remove: [LOCAL_REPLY_HEADER],
    virtual_hosts: [
      {
        name,
        domains: ['*'],
        request_body_buffer_limit: bufferLimit(maxRequestBytes),
        // First, because it is what every request matches before the processor has seen it.
        routes: [
          ...undecided,
          refuse('no-route-header', { present_match: true, invert_match: true }),
          ...routes,
          refuse('no-such-route'),
        ],
      },
    ],
  };
}

const byHeader = (value: string, route: object) => ({
  name: value,
  match: { prefix: '/', headers: [{ name: ROUTE_HEADER, string_match: { exact: value } }] },
  route,
});

const refuse = (name: string, header?: object) => ({
  name,
  match: { prefix: '/', ...(header === undefined ? {} : { headers: [{ name: ROUTE_HEADER, ...header }] }) },
  direct_response: { status: 404 },
});

/** `host[:port]` as the upstream expects it. */
const hostOf = (connection: ConnectionRevision): string => new URL(connection.config.url).host;
