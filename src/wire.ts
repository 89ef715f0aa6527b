/**
 * The one door to Envoy's wire formats: the lean definitions in proto/, read once with protobufjs. For data-plane
 * (ext_proc) and xds (resources, delta ADS), nobody else.
 */
export { adsService, type DeltaRequest, type DeltaResponse } from './wire/discovery.ts';
export { decodeProcessingRequest, encodeProcessingResponse, extProcService } from './wire/ext-proc.ts';
export {
  AppendAction,
  type BodyMutation,
  BodySendMode,
  type CommonResponse,
  type HeaderMutation,
  HeaderSendMode,
  type HeaderValue,
  type HttpBody,
  type HttpHeaders,
  type HttpTrailers,
  type ImmediateResponse,
  type ModeOverride,
  type ProcessingRequest,
  type ProcessingResponse,
  ResponseStatus,
  type StreamedBody,
  type Struct,
  type Value,
} from './wire/ext-proc-messages.ts';
export { type EncodedResource, encodeResource, type PlainResource } from './wire/resource.ts';
export { WireError } from './wire/rules.ts';
export { type Plain, plain, struct } from './wire/struct.ts';
