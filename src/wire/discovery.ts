import type { ServiceDefinition } from '@grpc/grpc-js';
import { requiredType } from './schema.ts';

/** Delta xDS (proto/envoy/service/discovery/v3.proto) as the ADS server reads and writes it. */
export interface DeltaRequest {
  /** On the first request of a stream only. */
  readonly node?: {
    readonly id: string;
    readonly cluster?: string;
    readonly user_agent_name?: string;
    readonly user_agent_build_version?: {
      readonly version?: {
        readonly major_number?: number;
        readonly minor_number?: number;
        readonly patch?: number;
      } | null;
    } | null;
  } | null;
  readonly type_url: string;
  readonly resource_names_subscribe: readonly string[];
  readonly resource_names_unsubscribe: readonly string[];
  /** What Envoy already has, by name; on the first request of a type on a stream. */
  readonly initial_resource_versions: Readonly<Record<string, string>>;
  readonly response_nonce: string;
  /** Set: the response with that nonce was refused. */
  readonly error_detail?: { readonly code?: number; readonly message?: string } | null;
}

export interface DeltaResponse {
  readonly system_version_info?: string;
  readonly type_url: string;
  readonly nonce: string;
  readonly resources: readonly {
    readonly name: string;
    readonly version: string;
    readonly resource: { readonly type_url: string; readonly value: Buffer };
  }[];
  readonly removed_resources: readonly string[];
}

/** `AggregatedDiscoveryService`, delta only: `server.addService(adsService, { DeltaAggregatedResources })`. */
export const adsService = {
  DeltaAggregatedResources: {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
    requestStream: true,
    responseStream: true,
    requestDeserialize: (buffer: Buffer) => request().decode(buffer) as unknown as DeltaRequest,
    responseSerialize: (message: DeltaResponse) => response().encode(message).finish() as Buffer,
    // The client's half, for tests that play Envoy.
    requestSerialize: (message: DeltaRequest) => request().encode(message).finish() as Buffer,
    responseDeserialize: (buffer: Buffer) => response().decode(buffer) as unknown as DeltaResponse,
  },
} satisfies ServiceDefinition;

const request = () => requiredType('envoy.service.discovery.v3.DeltaDiscoveryRequest');
const response = () => requiredType('envoy.service.discovery.v3.DeltaDiscoveryResponse');
