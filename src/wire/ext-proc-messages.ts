/**
 * The ext_proc messages (proto/envoy/service/ext_proc/v3.proto) as the processor sees and writes them. Names are
 * the proto's. Read: absent scalars show their default, absent messages are null, bytes are views of the gRPC
 * frame (copy what outlives the exchange). Written: enums by number (the constants below), no conversion of any
 * kind; a key that is not in these types would be dropped silently.
 */

export interface HeaderValue {
  readonly key: string;
  /** Envoy sends `raw_value`; whatever is written here arrives empty, so write `raw_value` too. */
  readonly value?: string;
  readonly raw_value?: Buffer;
}

export interface HttpHeaders {
  readonly headers?: { readonly headers: readonly HeaderValue[] } | null;
  readonly end_of_stream?: boolean;
}

export interface HttpBody {
  readonly body: Buffer;
  readonly end_of_stream?: boolean;
}

export interface HttpTrailers {
  readonly trailers?: { readonly headers: readonly HeaderValue[] } | null;
}

/** google.protobuf.Struct; see `struct` and `plain` in struct.ts. */
export interface Struct {
  readonly fields: Readonly<Record<string, Value>>;
}

export interface Value {
  readonly nullValue?: number;
  readonly numberValue?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly structValue?: Struct | null;
  readonly listValue?: { readonly values: readonly Value[] } | null;
}

export interface ProcessingRequest {
  /** Which of the six below is set. */
  readonly request?:
    | 'request_headers'
    | 'response_headers'
    | 'request_body'
    | 'response_body'
    | 'request_trailers'
    | 'response_trailers'
    | undefined;
  readonly request_headers?: HttpHeaders | null;
  readonly response_headers?: HttpHeaders | null;
  readonly request_body?: HttpBody | null;
  readonly response_body?: HttpBody | null;
  readonly request_trailers?: HttpTrailers | null;
  readonly response_trailers?: HttpTrailers | null;
  readonly metadata_context?: { readonly filter_metadata: Readonly<Record<string, Struct>> } | null;
  readonly attributes?: Readonly<Record<string, Struct>>;
  readonly protocol_config?: { readonly request_body_mode: number; readonly response_body_mode: number } | null;
}

export interface HeaderMutation {
  readonly set_headers?: readonly { readonly header: HeaderValue; readonly append_action?: number }[];
  readonly remove_headers?: readonly string[];
}

export interface StreamedBody {
  readonly body?: Buffer;
  readonly end_of_stream?: boolean;
}

export interface BodyMutation {
  readonly body?: Buffer;
  readonly clear_body?: boolean;
  readonly streamed_response?: StreamedBody;
}

export interface CommonResponse {
  readonly status?: number;
  readonly header_mutation?: HeaderMutation;
  readonly body_mutation?: BodyMutation;
  readonly clear_route_cache?: boolean;
}

export interface ImmediateResponse {
  readonly status: { readonly code: number };
  readonly headers?: HeaderMutation;
  readonly body?: Buffer;
  /** Shows as %RESPONSE_CODE_DETAILS%; no spaces. */
  readonly details?: string;
}

export interface ModeOverride {
  readonly request_header_mode?: number;
  readonly response_header_mode?: number;
  readonly request_body_mode?: number;
  readonly response_body_mode?: number;
  readonly request_trailer_mode?: number;
  readonly response_trailer_mode?: number;
}

/** Set exactly one of the eight answers. */
export interface ProcessingResponse {
  readonly request_headers?: { readonly response?: CommonResponse };
  readonly response_headers?: { readonly response?: CommonResponse };
  readonly request_body?: { readonly response?: CommonResponse };
  readonly response_body?: { readonly response?: CommonResponse };
  readonly request_trailers?: { readonly header_mutation?: HeaderMutation };
  readonly response_trailers?: { readonly header_mutation?: HeaderMutation };
  readonly immediate_response?: ImmediateResponse;
  readonly streamed_immediate_response?: {
    readonly headers_response?: HttpHeaders;
    readonly body_response?: StreamedBody;
  };
  readonly dynamic_metadata?: Struct;
  readonly mode_override?: ModeOverride;
  readonly override_message_timeout?: { readonly seconds: number; readonly nanos?: number };
}

/** ProcessingMode.BodySendMode */
export const BodySendMode = { NONE: 0, STREAMED: 1, BUFFERED: 2, FULL_DUPLEX_STREAMED: 4 } as const;
/** ProcessingMode.HeaderSendMode */
export const HeaderSendMode = { DEFAULT: 0, SEND: 1, SKIP: 2 } as const;
/** CommonResponse.ResponseStatus */
export const ResponseStatus = { CONTINUE: 0, CONTINUE_AND_REPLACE: 1 } as const;
/** HeaderValueOption.HeaderAppendAction. Envoy overwrites when it is unset, whatever the name of 0 says. */
export const AppendAction = { APPEND_IF_EXISTS_OR_ADD: 0, ADD_IF_ABSENT: 1, OVERWRITE_IF_EXISTS_OR_ADD: 2 } as const;
