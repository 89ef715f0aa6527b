import t from 'tap';
import { requiredType } from '../../src/wire/schema.ts';
import { encodeResource, type PlainResource, WireError } from '../../src/wire.ts';

const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
const cluster = (fields: object = {}): PlainResource => ({
  '@type': CLUSTER,
  name: 'a',
  type: 'STATIC',
  connect_timeout: '1.5s',
  ...fields,
});

t.test('plain objects become what protobuf means by them', (t) => {
  const { typeUrl, bytes } = encodeResource(
    cluster({
      per_connection_buffer_limit_bytes: 7,
      outlier_detection: { interval: '0.000000001s', split_external_local_origin_errors: true },
      common_lb_config: { healthy_panic_threshold: { value: 0.5 } },
      health_checks: undefined,
      typed_extension_protocol_options: {
        options: {
          '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
          explicit_http_config: { http2_protocol_options: {} },
        },
      },
    }),
  );
  t.equal(typeUrl, CLUSTER);
  const message = requiredType('envoy.config.cluster.v3.Cluster').decode(bytes).toJSON() as Record<string, unknown>;
  t.match(message, {
    name: 'a',
    type: 'STATIC',
    connect_timeout: { seconds: '1', nanos: 500_000_000 },
    per_connection_buffer_limit_bytes: { value: 7 },
    outlier_detection: { interval: { nanos: 1 }, split_external_local_origin_errors: true },
    common_lb_config: { healthy_panic_threshold: { value: 0.5 } },
    typed_extension_protocol_options: {
      options: { '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions' },
    },
  });
  t.notOk('health_checks' in message);
  t.end();
});

t.test('what Envoy would refuse is refused with its place', (t) => {
  const refused: readonly (readonly [PlainResource, string])[] = [
    // Keys and values that are not in the definition.
    [cluster({ conect_timeout: '1s' }), 'Cluster[a].conect_timeout is not a field of envoy.config.cluster.v3.Cluster'],
    [cluster({ outlier_detection: { intervall: '1s' } }), 'Cluster[a].outlier_detection.intervall is not a field of'],
    [cluster({ type: 'NO_SUCH' }), 'Cluster[a].type must be one of STATIC, STRICT_DNS'],
    [cluster({ type: 1 }), 'Cluster[a].type must be one of'],
    [cluster({ connect_timeout: '1 second' }), 'Cluster[a].connect_timeout must be a duration such as "1.5s"'],
    [cluster({ connect_timeout: 5 }), 'Cluster[a].connect_timeout must be a duration'],
    [cluster({ name: 5 }), 'Cluster.name must be a string'],
    [
      cluster({ per_connection_buffer_limit_bytes: -1 }),
      'Cluster[a].per_connection_buffer_limit_bytes must be a whole number',
    ],
    [
      cluster({ per_connection_buffer_limit_bytes: 1.5 }),
      'Cluster[a].per_connection_buffer_limit_bytes must be a whole number',
    ],
    [cluster({ health_checks: {} }), 'Cluster[a].health_checks must be a list'],
    [cluster({ load_assignment: [] }), 'Cluster[a].load_assignment must be an object'],
    [cluster({ cluster_type: { name: 'x' } }), 'Cluster[a].type excludes the other members of cluster_discovery_type'],
    [
      cluster({ typed_extension_protocol_options: { x: {} } }),
      'Cluster[a].typed_extension_protocol_options[x] needs an @type',
    ],
    [
      cluster({ transport_socket: { name: 'tls', typed_config: { '@type': 'type.googleapis.com/no.Such' } } }),
      'Cluster[a].transport_socket.typed_config has an @type that proto/ does not define: type.googleapis.com/no.Such',
    ],
    [
      { '@type': 'type.googleapis.com/envoy.config.cluster.v3.NoSuch' },
      'NoSuch has an @type that proto/ does not define',
    ],
    // Validation rules.
    [cluster({ name: '' }), 'Cluster.name must not be empty'],
    [cluster({ name: undefined }), 'Cluster.name must not be empty'],
    [cluster({ connect_timeout: '-1s' }), 'Cluster[a].connect_timeout must be longer than 0s'],
    [cluster({ connect_timeout: '0s' }), 'Cluster[a].connect_timeout must be longer than 0s'],
    [
      cluster({ outlier_detection: { max_ejection_percent: 101 } }),
      'Cluster[a].outlier_detection.max_ejection_percent must be at most 100',
    ],
    [cluster({ health_checks: [{ timeout: '1s' }] }), 'Cluster[a].health_checks[0].interval is required'],
    [
      cluster({ load_assignment: { cluster_name: '', endpoints: [] } }),
      'Cluster[a].load_assignment.cluster_name must not be empty',
    ],
    [
      cluster({
        load_assignment: { cluster_name: 'a', endpoints: [{ lb_endpoints: [{ endpoint: { address: {} } }] }] },
      }),
      'Cluster[a].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address needs one of socket_address, pipe',
    ],
    [
      cluster({
        load_assignment: {
          cluster_name: 'a',
          endpoints: [
            { lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'h', port_value: 65_536 } } } }] },
          ],
        },
      }),
      'socket_address.port_value must be at most 65535',
    ],
    [
      {
        '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
        request_headers_to_remove: ['fine', 'bad\r\nname'],
      },
      'RouteConfiguration.request_headers_to_remove[1] must not contain NUL or a line break',
    ],
    [
      { '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration', virtual_hosts: [{ name: 'v' }] },
      'RouteConfiguration.virtual_hosts[0].domains must have at least 1 entry',
    ],
    [
      {
        '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
        virtual_hosts: [
          { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 99 } }] },
        ],
      },
      'routes[0].direct_response.status must be at least 200',
    ],
    [
      {
        '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
        virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' } }] }],
      },
      'routes[0] needs one of route, direct_response',
    ],
  ];
  for (const [resource, expected] of refused) {
    try {
      encodeResource(resource);
      t.fail(`accepted, expected: ${expected}`);
    } catch (error) {
      t.ok(error instanceof WireError && error.message.includes(expected), `${error}`);
    }
  }
  t.end();
});

t.test('an error never repeats the value: it may be a private key', (t) => {
  const secret = {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
    name: 'x',
    tls_certificate: { private_key: { inline_string: ['hidden'] } },
  };
  t.throws(() => encodeResource(secret), {
    message: /^Secret\[x\]\.tls_certificate\.private_key\.inline_string must be a string$/,
  });
  t.end();
});
