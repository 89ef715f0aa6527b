import { isIP } from 'node:net';
import type { ConnectionConfig } from '../config/document.ts';
import type { PlainResource } from '../wire.ts';
import { duration, FROM_ADS, KIND_TYPE, typeUrl } from './type-urls.ts';

export interface ClusterInput {
  readonly name: string;
  readonly config: ConnectionConfig;
  /** PEM, trusted instead of the public roots. */
  readonly caPem: string | undefined;
  /** Names of SDS secrets. */
  readonly clientCertificate: string | undefined;
  readonly publicRoots: string;
}

/** One upstream. A dead one answers in milliseconds: a refused connection fails its call at once, without a retry. */
export function connectionCluster(input: ClusterInput): PlainResource {
  const { name, config } = input;
  const url = new URL(config.url);
  const https = url.protocol === 'https:';
  const host = hostName(url);
  const port = url.port === '' ? (https ? 443 : 80) : Number(url.port);
  return {
    '@type': KIND_TYPE.clusters,
    name,
    ...(isIP(host) === 0 ? { cluster_type: byName } : { type: 'STATIC' }),
    connect_timeout: duration(Math.min(5_000, config.timeoutMs)),
    per_connection_buffer_limit_bytes: 1_048_576,
    load_assignment: {
      cluster_name: name,
      endpoints: [
        { lb_endpoints: [{ endpoint: { address: { socket_address: { address: host, port_value: port } } } }] },
      ],
    },
    common_lb_config: { healthy_panic_threshold: { value: 0 } },
    circuit_breakers: { thresholds: [thresholds(config.limits.maxConcurrent)] },
    ...(config.limits.circuitBreaker === undefined ? {} : { outlier_detection: breaker(config.limits.circuitBreaker) }),
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': typeUrl('envoy.extensions.upstreams.http.v3.HttpProtocolOptions'),
        // Below Node's default keep-alive limit of 5 s: an upstream that closes an idle connection just as a call is
        // written to it costs that call, and a call may not be repeated.
        common_http_protocol_options: { idle_timeout: '4s' },
        ...(https ? { auto_config: {} } : { explicit_http_config: { http_protocol_options: {} } }),
      },
    },
    ...(https ? { transport_socket: upstreamTls(input, host) } : {}),
  };
}

/**
 * A name's addresses are one endpoint, tried in turn (happy eyeballs): `localhost` that listens on IPv4 only works.
 * Envoy serves nothing until every cluster has resolved once or failed to, so the resolver gives up early (1 s, then
 * 2 s; its defaults add up to a minute) and asks again in the background.
 */
const byName = {
  name: 'envoy.cluster.dns',
  typed_config: {
    '@type': typeUrl('envoy.extensions.clusters.dns.v3.DnsCluster'),
    dns_lookup_family: 'ALL',
    all_addresses_in_single_endpoint: true,
    dns_refresh_rate: '10s',
    dns_failure_refresh_rate: { base_interval: '1s', max_interval: '10s' },
    respect_dns_ttl: true,
    typed_dns_resolver_config: {
      name: 'envoy.network.dns_resolver.cares',
      typed_config: {
        '@type': typeUrl('envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig'),
        query_timeout_seconds: 1,
        query_tries: 2,
      },
    },
  },
};

/** Requests in flight; one more is refused at once. Connections are not limited: HTTP/1.1 needs one a request. */
function thresholds(maxConcurrent: number | undefined): object {
  const requests = maxConcurrent ?? 10_000;
  return { max_connections: 10_000, max_pending_requests: requests, max_requests: requests, max_retries: 0 };
}

/** Open for exactly `openForMs` each time; both 5xx answers and failures to connect count. */
function breaker({ consecutiveErrors, openForMs }: { consecutiveErrors: number; openForMs: number }): object {
  return {
    consecutive_5xx: consecutiveErrors,
    enforcing_consecutive_5xx: 100,
    split_external_local_origin_errors: true,
    consecutive_local_origin_failure: consecutiveErrors,
    enforcing_consecutive_local_origin_failure: 100,
    interval: duration(Math.min(1_000, openForMs)),
    base_ejection_time: duration(openForMs),
    max_ejection_time: duration(openForMs),
    max_ejection_percent: 100,
  };
}

/** Verified against the name that the operator wrote, never against what DNS or the upstream says. */
function upstreamTls({ config, caPem, clientCertificate, publicRoots }: ClusterInput, host: string): object {
  const expected = config.tls?.serverName ?? host;
  const ip = isIP(expected) !== 0;
  const names = {
    match_typed_subject_alt_names: [{ san_type: ip ? 'IP_ADDRESS' : 'DNS', matcher: { exact: expected } }],
  };
  const verified =
    config.tls?.insecure === true
      ? {}
      : caPem !== undefined
        ? { validation_context: { ...names, trusted_ca: { inline_string: caPem } } }
        : {
            combined_validation_context: {
              default_validation_context: names,
              validation_context_sds_secret_config: { name: publicRoots, sds_config: FROM_ADS },
            },
          };
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': typeUrl('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
      // SNI carries names only (RFC 6066 §3).
      ...(ip ? {} : { sni: expected }),
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2' },
        ...verified,
        ...(clientCertificate === undefined
          ? {}
          : { tls_certificate_sds_secret_configs: [{ name: clientCertificate, sds_config: FROM_ADS }] }),
      },
    },
  };
}

/** Without the brackets of an IPv6 literal. */
const hostName = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1');
