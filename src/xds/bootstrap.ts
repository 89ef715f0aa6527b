import type { Sockets } from '../runtime/sockets.ts';
import { FROM_ADS, typeUrl } from './type-urls.ts';

export interface BootstrapInput {
  readonly sockets: Sockets;
  /** Processor workers; one endpoint each in both of their clusters. */
  readonly workers: number;
  /** One endpoint each in theirs. */
  readonly relays: number;
  /** Envoy's name at the control plane; one a replica. */
  readonly nodeId: string;
}

/**
 * What an Envoy of ours is started with (`envoy -c FILE`, JSON): where the control plane and the processor workers
 * listen. Everything else (listeners, routes, upstream clusters, certificates) comes from the control plane, and
 * Envoy serves nothing until that has arrived.
 */
export function envoyBootstrap({ sockets, workers, relays, nodeId }: BootstrapInput): object {
  const each = (count: number, socket: (index: number) => string): string[] =>
    Array.from({ length: count }, (_, index) => socket(index));
  return {
    node: { id: nodeId, cluster: 'sallyport' },
    admin: { address: { pipe: { path: sockets.envoyAdmin, mode: 0o600 } } },
    application_log_config: {
      log_format: { json_format: { level: '%l', time: '%Y-%m-%dT%T.%e%z', role: 'envoy', logger: '%n', msg: '%j' } },
    },
    layered_runtime: {
      layers: [
        {
          name: 'sallyport',
          // Without it Envoy resets every ext_proc stream, and Node's HTTP/2 answers many resets with GOAWAY: failed calls.
          static_layer: { 'envoy.reloadable_features.ext_proc_graceful_grpc_close': true },
        },
      ],
    },
    overload_manager: {
      resource_monitors: [
        {
          name: 'envoy.resource_monitors.global_downstream_max_connections',
          typed_config: {
            '@type': typeUrl(
              'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
            ),
            max_active_downstream_connections: 20_000,
          },
        },
      ],
    },
    dynamic_resources: {
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [
          {
            envoy_grpc: {
              cluster_name: 'sallyport_xds',
              retry_policy: { retry_back_off: { base_interval: '0.1s', max_interval: '1s' } },
            },
          },
        ],
      },
      cds_config: FROM_ADS,
      lds_config: FROM_ADS,
    },
    static_resources: {
      clusters: [
        { ...cluster('sallyport_xds', [sockets.xds]), ...overHttp2 },
        { ...cluster(PROCESSOR_CLUSTER, each(workers, sockets.processor)), ...overHttp2, ...watched },
        { ...cluster(EDGE_CLUSTER, each(workers, sockets.edge)), ...overHttp1, ...watched },
        { ...cluster(RELAY_CLUSTER, each(relays, sockets.relay)), ...streamsOverHttp2, ...checked },
      ],
    },
  };
}

/** ext_proc gRPC of the processor workers. */
export const PROCESSOR_CLUSTER = 'sallyport_processor';
/** Plain HTTP of the processor workers. */
export const EDGE_CLUSTER = 'sallyport_edge';
/** HTTP/2 of the relays. */
export const RELAY_CLUSTER = 'sallyport_relay';

const cluster = (name: string, paths: readonly string[]) => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: paths.map((path) => ({ endpoint: { address: { pipe: { path } } } })) }],
  },
});

const protocol = (options: object) => ({
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': typeUrl('envoy.extensions.upstreams.http.v3.HttpProtocolOptions'),
      ...options,
    },
  },
});

const overHttp2 = protocol({ explicit_http_config: { http2_protocol_options: {} } });
/**
 * Ten thousand idle streams as HTTP/1.1 would cost Envoy as many sockets again. But a client that goes away makes Envoy
 * reset its stream, and nghttp2 takes more than 1000 resets in a row on one connection (33 a second after that) for an
 * attack and ends it, with every stream that is on it (CVE-2023-44487; Node 20 has no option). So no connection carries
 * as many requests. A client that stops reading holds back its own window, and all 500 of them no other stream's.
 */
const streamsOverHttp2 = protocol({
  common_http_protocol_options: { max_requests_per_connection: 900 },
  explicit_http_config: {
    http2_protocol_options: {
      max_concurrent_streams: 500,
      initial_stream_window_size: 65_536,
      initial_connection_window_size: 500 * 65_536,
    },
  },
});
// Closed before Node's own keep-alive limit (5 s) can close it under a request.
const overHttp1 = protocol({
  common_http_protocol_options: { idle_timeout: '4s' },
  explicit_http_config: { http_protocol_options: {} },
});

/** What is alive is found out by connecting. There are as many requests at a time as there are clients. */
const checked = {
  lb_policy: 'ROUND_ROBIN',
  common_lb_config: { healthy_panic_threshold: { value: 0 } },
  health_checks: [
    {
      timeout: '0.5s',
      interval: '0.5s',
      no_traffic_interval: '0.5s',
      unhealthy_threshold: 1,
      healthy_threshold: 1,
      tcp_health_check: {},
    },
  ],
  circuit_breakers: {
    thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000, max_requests: 100_000, max_retries: 100 }],
  },
};

/**
 * Envoy does not repeat an ext_proc stream at another worker, so a dead one has to leave the rotation: at the first
 * refused connection, and by the check that also brings it back. A stream of an open SSE answer counts as a request.
 * Not for the relay: when it cuts the stream of a client that does not read, Envoy takes that for a failure too.
 */
const watched = {
  ...checked,
  outlier_detection: {
    split_external_local_origin_errors: true,
    consecutive_local_origin_failure: 1,
    enforcing_consecutive_local_origin_failure: 100,
    enforcing_consecutive_5xx: 0,
    enforcing_success_rate: 0,
    enforcing_local_origin_success_rate: 0,
    interval: '0.5s',
    base_ejection_time: '0.5s',
    max_ejection_time: '2s',
    max_ejection_percent: 100,
  },
};
