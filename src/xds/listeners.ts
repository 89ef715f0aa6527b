import type { PlainResource } from '../wire.ts';
import { PROCESSOR_CLUSTER } from './bootstrap.ts';
import { localReplies, recognisableReplies } from './local-replies.ts';
import { FROM_ADS, KIND_TYPE, typeUrl } from './type-urls.ts';

/** Room for headers, frames and our own edits around the largest body. */
const MARGIN = 65_536;
export const bufferLimit = (maxRequestBytes: number): number => maxRequestBytes + MARGIN;

const MAX_HEADER_KB = 64;
const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

export interface McpListenerInput {
  readonly host: string;
  readonly port: number;
  readonly maxRequestBytes: number;
  /** Names of the SDS secrets; absent: plain HTTP. */
  readonly tls: { readonly certificate: string; readonly clientCa: string | undefined } | undefined;
}

/**
 * The listener agents use. Its name holds its address: another address is another listener, added before the old one
 * goes. Filters: ext_proc decides, the gate refuses whatever has no decision, the router sends.
 */
export function mcpListener({ host, port, maxRequestBytes, tls }: McpListenerInput): PlainResource {
  return {
    '@type': KIND_TYPE.listeners,
    name: `mcp/${host}:${port}`,
    address: { socket_address: { address: host, port_value: port } },
    per_connection_buffer_limit_bytes: bufferLimit(maxRequestBytes),
    filter_chains: [
      {
        ...(tls === undefined ? {} : { transport_socket: downstreamTls(tls) }),
        filters: [mcpEndpoint('mcp', maxRequestBytes)],
      },
    ],
  };
}

/**
 * The same endpoint for the relay, which sends here what a client has sent it in another form (HTTP+SSE, a batch): each
 * message passes every step as if the client had sent it by itself. A socket that only our own uid can open.
 */
export function frontListener(path: string, maxRequestBytes: number): PlainResource {
  return {
    '@type': KIND_TYPE.listeners,
    name: 'front',
    address: { pipe: { path, mode: 0o600 } },
    per_connection_buffer_limit_bytes: bufferLimit(maxRequestBytes),
    ignore_global_conn_limit: true,
    filter_chains: [{ filters: [mcpEndpoint('front', maxRequestBytes)] }],
  };
}

/** `statPrefix`: requests in flight under `mcp` are agents', which a stop waits for. */
function mcpEndpoint(statPrefix: string, maxRequestBytes: number): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': typeUrl(HCM),
      stat_prefix: statPrefix,
      codec_type: 'AUTO',
      rds: { config_source: FROM_ADS, route_config_name: 'mcp' },
      server_name: 'sallyport',
      common_http_protocol_options: {
        idle_timeout: '600s',
        headers_with_underscores_action: 'DROP_HEADER',
      },
      http2_protocol_options: {
        max_concurrent_streams: 256,
        initial_stream_window_size: 262_144,
        initial_connection_window_size: 4_194_304,
      },
      max_request_headers_kb: MAX_HEADER_KB,
      request_headers_timeout: '10s',
      request_timeout: '60s',
      // Until a route is chosen; each route has its own.
      stream_idle_timeout: '300s',
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: 'REJECT_REQUEST',
      use_remote_address: true,
      skip_xff_append: true,
      generate_request_id: true,
      local_reply_config: localReplies(maxRequestBytes, MAX_HEADER_KB),
      early_header_mutation_extensions: [stripInternalHeaders],
      http_filters: [extProc, gate, cleanEdges, router],
    },
  };
}

/**
 * What Sallyport itself sends to an upstream goes through here, so that TLS, circuit breakers and statistics of every
 * upstream are Envoy's. A socket that only our own uid can open: a port would lend upstream client certificates to
 * anything on the machine. Callers have their own deadlines, so streams may stay open for long.
 */
export function egressListener(path: string, maxRequestBytes: number): PlainResource {
  return {
    '@type': KIND_TYPE.listeners,
    name: 'egress',
    address: { pipe: { path, mode: 0o600 } },
    per_connection_buffer_limit_bytes: bufferLimit(maxRequestBytes),
    ignore_global_conn_limit: true,
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': typeUrl(HCM),
              stat_prefix: 'egress',
              codec_type: 'AUTO',
              rds: { config_source: FROM_ADS, route_config_name: 'egress' },
              stream_idle_timeout: '3600s',
              generate_request_id: false,
              skip_xff_append: true,
              local_reply_config: recognisableReplies(),
              http_filters: [router],
            },
          },
        ],
      },
    ],
  };
}

/**
 * Responses are configured SKIP, and the processor switches the response phase on (`mode_override` with
 * `response_header_mode: SEND` and `request_body_mode: BUFFERED`) in its answer to the request headers. Configured
 * SEND, Envoy would also ask the processor about the 400 and 431 with which its codec refuses bytes that never became
 * a request, and closes the connection before the answer is there: the client would get nothing at all.
 */
const extProc = {
  name: 'envoy.filters.http.ext_proc',
  typed_config: {
    '@type': typeUrl('envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor'),
    grpc_service: { envoy_grpc: { cluster_name: PROCESSOR_CLUSTER } },
    processing_mode: {
      request_header_mode: 'SEND',
      request_body_mode: 'BUFFERED',
      response_header_mode: 'SKIP',
      response_body_mode: 'NONE',
      request_trailer_mode: 'SKIP',
      response_trailer_mode: 'SKIP',
    },
    allow_mode_override: true,
    failure_mode_allow: false,
    message_timeout: '15s',
    // A call that is repeated on a new upstream session asks for as long as the call may take.
    max_message_timeout: '3600s',
    mutation_rules: { allow_all_routing: true },
    status_on_error: { code: 'ServiceUnavailable' },
    metadata_options: { receiving_namespaces: { untyped: ['sallyport'] } },
  },
};

/** An ext_proc stream that ends cleanly before it decided lets the request pass; it does not get past this one. */
const gate = {
  name: 'envoy.filters.http.rbac',
  typed_config: {
    '@type': typeUrl('envoy.extensions.filters.http.rbac.v3.RBAC'),
    rules: {
      action: 'ALLOW',
      policies: {
        decided: {
          principals: [{ any: true }],
          permissions: [
            {
              sourced_metadata: {
                metadata_matcher: {
                  filter: 'sallyport',
                  path: [{ key: 'decision' }],
                  value: { string_match: { exact: 'allow' } },
                },
                metadata_source: 'DYNAMIC',
              },
            },
          ],
        },
      },
    },
  },
};

/**
 * Trailers are nobody's business here: neither a client's nor an upstream's are looked at, so none pass. And an upstream
 * has no say in headers by which Envoy speaks, which ext_proc may not remove.
 */
const cleanEdges = {
  name: 'envoy.filters.http.header_mutation',
  typed_config: {
    '@type': typeUrl('envoy.extensions.filters.http.header_mutation.v3.HeaderMutation'),
    mutations: {
      request_trailers_mutations: [{ remove_on_match: { key_matcher: { safe_regex: { regex: '.*' } } } }],
      response_trailers_mutations: [{ remove_on_match: { key_matcher: { safe_regex: { regex: '.*' } } } }],
      response_mutations: [{ remove_on_match: { key_matcher: { prefix: 'x-envoy-' } } }],
    },
  },
};

const router = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': typeUrl('envoy.extensions.filters.http.router.v3.Router'), suppress_envoy_headers: true },
};

/** Before anything looks at them: headers that mean something to us or to Envoy, whoever sent them. */
const stripInternalHeaders = {
  name: 'envoy.http.early_header_mutation.header_mutation',
  typed_config: {
    '@type': typeUrl('envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation'),
    mutations: ['x-sallyport-', 'x-envoy-'].map((prefix) => ({ remove_on_match: { key_matcher: { prefix } } })),
  },
};

function downstreamTls(tls: NonNullable<McpListenerInput['tls']>): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': typeUrl('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext'),
      require_client_certificate: tls.clientCa !== undefined,
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2' },
        alpn_protocols: ['h2', 'http/1.1'],
        tls_certificate_sds_secret_configs: [{ name: tls.certificate, sds_config: FROM_ADS }],
        ...(tls.clientCa === undefined
          ? {}
          : {
              combined_validation_context: {
                default_validation_context: {},
                validation_context_sds_secret_config: { name: tls.clientCa, sds_config: FROM_ADS },
              },
            }),
      },
    },
  };
}
