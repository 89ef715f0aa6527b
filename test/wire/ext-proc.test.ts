import t from 'tap';
import {
  AppendAction,
  BodySendMode,
  decodeProcessingRequest,
  encodeProcessingResponse,
  extProcService,
  type HttpBody,
  type ProcessingResponse,
  plain,
  struct,
} from '../../src/wire.ts';

const { requestSerialize, responseSerialize, responseDeserialize } = extProcService.Process;

t.test('a request is read without copying its body', (t) => {
  const body = Buffer.from('{"id":9007199254740993}');
  const frame = requestSerialize({ request_body: { body, end_of_stream: true } });
  const request = decodeProcessingRequest(frame);
  t.equal(request.request, 'request_body');
  t.equal(request.request_body?.body.toString(), body.toString());
  t.equal(request.request_body?.body.buffer, frame.buffer, 'a view');
  t.equal(request.request_body?.end_of_stream, true);
  t.equal(request.request_headers, null);
  t.end();
});

t.test('absent fields show defaults: bytes an empty Buffer', (t) => {
  const { request_body } = decodeProcessingRequest(
    requestSerialize({ request_body: { end_of_stream: false } as HttpBody }),
  );
  t.ok(Buffer.isBuffer(request_body?.body));
  t.equal(request_body?.body.length, 0);
  t.equal(request_body?.end_of_stream, false);
  const { request_headers, attributes } = decodeProcessingRequest(
    requestSerialize({
      request_headers: { headers: { headers: [{ key: 'a' }] } },
      attributes: {
        'envoy.filters.http.ext_proc': struct({ 'source.address': '127.0.0.1:1', n: 1, list: [true, null] }),
      },
    }),
  );
  t.ok(Buffer.isBuffer(request_headers?.headers?.headers[0]?.raw_value));
  const given = attributes?.['envoy.filters.http.ext_proc'];
  t.same(given && plain(given), { 'source.address': '127.0.0.1:1', n: 1, list: [true, null] });
  t.end();
});

t.test('a response is written as given; a ready buffer as it is', (t) => {
  const response: ProcessingResponse = {
    request_body: {
      response: {
        clear_route_cache: true,
        header_mutation: {
          set_headers: [
            {
              header: { key: ':path', raw_value: Buffer.from('/mcp') },
              append_action: AppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            },
          ],
          remove_headers: ['cookie'],
        },
        body_mutation: { body: Buffer.from('{}') },
      },
    },
    mode_override: { response_body_mode: BodySendMode.FULL_DUPLEX_STREAMED },
    dynamic_metadata: struct({ sallyport: { decision: 'allow' } }),
  };
  const encoded = encodeProcessingResponse(response);
  t.equal(responseSerialize(encoded), encoded);
  t.same(responseSerialize(response), encoded);
  t.match(JSON.parse(JSON.stringify(responseDeserialize(encoded))), {
    request_body: {
      response: {
        clear_route_cache: true,
        header_mutation: {
          set_headers: [
            { header: { key: ':path', raw_value: 'L21jcA==' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
          ],
          remove_headers: ['cookie'],
        },
        body_mutation: { body: 'e30=' },
      },
    },
    mode_override: { response_body_mode: 'FULL_DUPLEX_STREAMED' },
  });
  t.end();
});
