import { join } from 'node:path';

/** Unix sockets of one deployment, all in its short, private (0700) runtime directory. */
export interface Sockets {
  /** The control plane's ADS server; Envoy connects. */
  readonly xds: string;
  /** Envoy's egress listener (0600): whatever Sallyport itself sends to an upstream. */
  readonly egress: string;
  /** Envoy's inner listener (0600), the MCP endpoint without TLS: where the relay sends a client's message as the client would. */
  readonly front: string;
  /** Envoy's admin interface. */
  readonly envoyAdmin: string;
  /** ext_proc gRPC of worker `index`. */
  processor(index: number): string;
  /** Plain HTTP of worker `index`: answers too big for the gRPC path, and its metrics. */
  edge(index: number): string;
  /** HTTP/2 of relay `index`: what lives long or is translated. */
  relay(index: number): string;
  /** Plain HTTP of relay `index`: its metrics. */
  relayMetrics(index: number): string;
}

/** Names of the sockets under a runtime directory. */
export function socketsIn(directory: string): Sockets {
  return {
    xds: join(directory, 'xds.sock'),
    egress: join(directory, 'egress.sock'),
    front: join(directory, 'front.sock'),
    envoyAdmin: join(directory, 'envoy-admin.sock'),
    processor: (index) => join(directory, `processor-${index}.sock`),
    edge: (index) => join(directory, `edge-${index}.sock`),
    relay: (index) => join(directory, `relay-${index}.sock`),
    relayMetrics: (index) => join(directory, `relay-metrics-${index}.sock`),
  };
}
