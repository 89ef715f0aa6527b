import type { ServiceDefinition } from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import type { ProcessingRequest, ProcessingResponse } from './ext-proc-messages.ts';
import { requiredType } from './schema.ts';

/**
 * The hot path: protobufjs' generated codecs straight between buffers and messages. proto-loader's conversions to
 * and from plain objects would walk every message a second time.
 */
const request = lazily(() => withEmptyBytes(requiredType('envoy.service.ext_proc.v3.ProcessingRequest')));
const response = lazily(() => requiredType('envoy.service.ext_proc.v3.ProcessingResponse'));

/** Bytes in the result are views of `buffer`. */
export function decodeProcessingRequest(buffer: Buffer): ProcessingRequest {
  return request().decode(buffer) as unknown as ProcessingRequest;
}

/** Encoded once, such an answer can be written to any number of streams: `call.write` takes the buffer as it is. */
export function encodeProcessingResponse(message: ProcessingResponse): Buffer {
  return response().encode(message).finish() as Buffer;
}

/** `envoy.service.ext_proc.v3.ExternalProcessor` for grpc-js' `server.addService(extProcService, { Process })`. */
export const extProcService = {
  Process: {
    path: '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
    requestStream: true,
    responseStream: true,
    requestDeserialize: decodeProcessingRequest,
    responseSerialize: (message: ProcessingResponse | Buffer) =>
      Buffer.isBuffer(message) ? message : encodeProcessingResponse(message),
    // The client's half, for tests that play Envoy.
    requestSerialize: (message: ProcessingRequest) => request().encode(message).finish() as Buffer,
    responseDeserialize: (buffer: Buffer) => response().decode(buffer) as unknown as ProcessingResponse,
  },
} satisfies ServiceDefinition;

/** protobufjs shows absent bytes as an array; every reader of ours expects a Buffer. */
function withEmptyBytes(type: protobuf.Type, seen = new Set<protobuf.Type>()): protobuf.Type {
  if (seen.has(type)) return type;
  seen.add(type);
  for (const field of type.fieldsArray) {
    if (field.type === 'bytes' && !field.repeated) (type.ctor.prototype as Record<string, unknown>)[field.name] = EMPTY;
    if (isType(field.resolvedType)) withEmptyBytes(field.resolvedType, seen);
  }
  return type;
}

const EMPTY = Buffer.alloc(0);

const isType = (resolved: protobuf.ReflectionObject | null): resolved is protobuf.Type =>
  resolved !== null && 'fieldsArray' in resolved;

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
