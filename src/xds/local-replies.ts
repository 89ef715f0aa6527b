import { LOCAL_REPLY_HEADER } from '../snapshot/revision.ts';
import { typeUrl } from './type-urls.ts';

/**
 * What Envoy refuses by itself, as JSON-RPC errors that say what to do. The first mapper that matches decides, so the
 * processor's own answers come first and stay as they are: Envoy passes those through here too, and they are known by
 * their `details`, which begin with `sallyport` (ImmediateResponse.details; no metadata has to be sent for it).
 *
 * A reply that can follow a verdict of the processor carries LOCAL_REPLY_HEADER, so that the processor does not take
 * it for the upstream's answer; it replaces such a reply or removes the header.
 */
export function localReplies(maxRequestBytes: number, maxHeaderKb: number): object {
  return {
    mappers: [
      { filter: detailsBegin('sallyport') },
      {
        filter: detailsBegin('ext_proc_error'),
        headers_to_add: [{ header: { key: 'retry-after', value: '1' } }],
        ...says('The gateway cannot process calls at the moment. Try again in a few seconds.'),
      },
      replyTo(400, 'This is not a valid HTTP request. Send HTTP/1.1 or HTTP/2 with a Host header and a JSON-RPC body.'),
      replyTo(403, 'The gateway has no decision on this request, so it is refused. Send it again.'),
      {
        ...replyTo(404, 'The connection behind this call is not available. Call tools/list to see what is.'),
        ...marked,
      },
      replyTo(408, 'The request did not arrive completely in time. Send it again.'),
      {
        ...replyTo(413, `The request body is larger than ${maxRequestBytes} bytes. Send less in one call.`),
        ...marked,
      },
      replyTo(426, 'HTTP/1.0 is not supported. Use HTTP/1.1 or HTTP/2.'),
      replyTo(431, `The request headers are larger than ${maxHeaderKb} KiB. Send fewer or shorter headers.`),
      { ...replyTo(504, 'The call did not finish in time. Try again later, or ask for less.'), ...marked },
      {
        filter: statusFrom(500),
        ...marked,
        ...says('The upstream of this call cannot be reached or broke off. Try again later.'),
      },
      { filter: ANY, ...says('The gateway refused this request (HTTP %RESPONSE_CODE%).') },
    ],
  };
}

/** On the egress listener: Envoy's text as it is, only recognisable. */
export const recognisableReplies = (): object => ({ mappers: [{ filter: ANY, ...marked }] });

const marked = {
  headers_to_add: [
    {
      header: { key: LOCAL_REPLY_HEADER, value: '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' },
      append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
    },
  ],
};

/** JSON-RPC's -32000: a server error without a fixed meaning; the sentence is what counts. */
const says = (message: string) => ({
  body_format_override: {
    content_type: 'application/json',
    text_format_source: {
      inline_string: JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32000, message } }),
    },
  },
});

const status = (op: string, code: number) => ({
  status_code_filter: { comparison: { op, value: { default_value: code, runtime_key: 'sallyport.unused' } } },
});
const statusFrom = (code: number) => status('GE', code);
const ANY = statusFrom(0);
const replyTo = (code: number, message: string) => ({ filter: status('EQ', code), ...says(message) });

const detailsBegin = (prefix: string) => ({
  extension_filter: {
    name: 'envoy.access_loggers.extension_filters.cel',
    typed_config: {
      '@type': typeUrl('envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter'),
      expression: `response.code_details.startsWith("${prefix}")`,
    },
  },
});
