/** The `@type` of an Envoy message by its full name. */
export const typeUrl = (fullName: string): string => `type.googleapis.com/${fullName}`;

/** The kinds of resources that the control plane serves, in the order in which additions are sent. */
export const KINDS = ['secrets', 'clusters', 'listeners', 'routes'] as const;
export type Kind = (typeof KINDS)[number];

/** Discovery `type_url` of each kind. */
export const KIND_TYPE: Readonly<Record<Kind, string>> = {
  secrets: typeUrl('envoy.extensions.transport_sockets.tls.v3.Secret'),
  clusters: typeUrl('envoy.config.cluster.v3.Cluster'),
  listeners: typeUrl('envoy.config.listener.v3.Listener'),
  routes: typeUrl('envoy.config.route.v3.RouteConfiguration'),
};

/** Resources that come over the same stream. Without a time limit: nothing may start half-configured. */
export const FROM_ADS = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' } as const;

/** Milliseconds as protobuf's JSON duration. */
export const duration = (milliseconds: number): string => `${milliseconds / 1000}s`;
