/**
 * Every refusal the data plane can utter, in one place: how it travels (HTTP status, JSON-RPC error or tool result)
 * and the sentence that tells an agent what to do next (design rule 11). A Problem is a value, never thrown.
 */

import type { Era } from '../mcp/revision.ts';

export type Verdict = 'allowed' | 'denied' | 'limited' | 'blocked' | 'failed';

export interface Problem {
  readonly code: string;
  /** HTTP status when it travels as a JSON-RPC error. */
  readonly status: number;
  readonly rpcCode: number;
  /** For the agent: what was refused and what to do. Never a secret, never a stack trace. */
  readonly message: string;
  /** As a tool result (`isError`, HTTP 200) when the request was a tools/call: SDKs throw on anything else. */
  readonly asToolResult: boolean;
  readonly headers: readonly (readonly [string, string])[];
  /** JSON text of `error.data`. */
  readonly data: string | undefined;
  readonly verdict: Verdict;
  /** For the audit only: what really decided. */
  readonly reason: string | undefined;
}

interface Extras {
  readonly data?: unknown;
  readonly headers?: readonly (readonly [string, string])[];
  readonly reason?: string | undefined;
}

function define(
  code: string,
  status: number,
  rpcCode: number,
  verdict: Verdict,
  message: string,
  extras: Extras & { asToolResult?: boolean } = {},
): Problem {
  return {
    code,
    status,
    rpcCode,
    message,
    verdict,
    asToolResult: extras.asToolResult ?? false,
    headers: extras.headers ?? [],
    data: extras.data === undefined ? undefined : JSON.stringify(extras.data),
    reason: extras.reason,
  };
}

/** JSON-RPC 2.0 §5.1; -32000…-32019 carry no fixed meaning in MCP (the SDKs use -32001 for a lost session). */
const PARSE = -32700;
const INVALID = -32600;
const METHOD = -32601;
const PARAMS = -32602;
const INTERNAL = -32603;
const GENERAL = -32000;
const NO_SESSION = -32001;
/** MCP up to 2025-11-25; later revisions use invalid params. */
const NO_RESOURCE = -32002;
/** MCP 2026-07-28, "Error Codes". */
const HEADER_MISMATCH = -32020;
const UNSUPPORTED_VERSION = -32022;

export const problems = {
  notJson: (detail: string) =>
    define(
      'not_json',
      400,
      PARSE,
      'failed',
      `The request body is not valid JSON: ${detail}. Send one JSON-RPC 2.0 message.`,
    ),
  invalidRequest: (detail: string) =>
    define('invalid_request', 400, INVALID, 'failed', `Not a valid JSON-RPC 2.0 message: ${detail}.`),
  batch: (detail: string) => define('batch', 400, INVALID, 'failed', `${detail}.`),
  contentType: (got: string) =>
    define(
      'content_type',
      415,
      GENERAL,
      'failed',
      `Content-Type must be application/json${got === '' ? '' : `, not ${got}`}.`,
    ),
  notAcceptable: () =>
    define(
      'not_acceptable',
      406,
      GENERAL,
      'failed',
      'Accept must allow application/json; MCP clients send "application/json, text/event-stream".',
    ),
  method: (method: string, allow: string) =>
    define(
      'http_method',
      405,
      GENERAL,
      'failed',
      `${method} is not available on this endpoint. Use POST for messages and DELETE to end a session.`,
      {
        headers: [['allow', allow]],
      },
    ),
  tooLarge: (limit: number) =>
    define(
      'too_large',
      413,
      GENERAL,
      'failed',
      `The request body is larger than ${limit} bytes. Send less in one call.`,
    ),
  notFound: (path: string) =>
    define(
      'not_found',
      404,
      GENERAL,
      'denied',
      `There is no MCP endpoint at ${path}. Endpoints are /mcp and /{namespace}/mcp.`,
    ),
  noKey: (challenge: string) =>
    define(
      'unauthenticated',
      401,
      GENERAL,
      'denied',
      'Authentication is required. Send your key as "Authorization: Bearer KEY".',
      {
        headers: [['www-authenticate', challenge]],
        reason: 'no credentials were sent',
      },
    ),
  badKey: (challenge: string, reason: string) =>
    define(
      'unauthenticated',
      401,
      GENERAL,
      'denied',
      'The key is not valid. It may be mistyped, expired or revoked; ask the gateway operator for a new one.',
      {
        headers: [['www-authenticate', challenge]],
        reason,
      },
    ),
  host: (host: string) =>
    define(
      'host',
      403,
      GENERAL,
      'denied',
      `This gateway does not answer for the host "${host}". Use its public URL, or ask the operator to set publicUrl.`,
      {
        reason: 'host not accepted',
      },
    ),
  origin: (origin: string) =>
    define(
      'origin',
      403,
      GENERAL,
      'denied',
      `Requests from the web origin "${origin}" are not allowed. The operator can add it to allowedOrigins.`,
      {
        reason: 'origin not allowed',
      },
    ),
  sessionMissing: () =>
    define(
      'session_missing',
      400,
      GENERAL,
      'failed',
      'The Mcp-Session-Id header is missing. Call initialize first and send the id it returns.',
    ),
  sessionUnknown: (reason: string) =>
    define(
      'session_unknown',
      404,
      NO_SESSION,
      'denied',
      'Session not found: it ended or has expired. Call initialize again, without a session id.',
      { reason },
    ),
  protocolVersion: (got: string, supported: readonly string[]) =>
    define(
      'protocol_version',
      400,
      GENERAL,
      'failed',
      `MCP-Protocol-Version ${got} is not supported. Supported: ${supported.join(', ')}.`,
    ),
  /** Modern: 404, which tells a client that this is no older server (MCP 2026-07-28 transports). */
  unknownMethod: (method: string, era: Era = 'legacy') =>
    define('unknown_method', era === 'modern' ? 404 : 200, METHOD, 'failed', `Method not found: ${method}`),
  /** A header that says something else than the body it came with, or is missing. */
  headerMismatch: (detail: string) =>
    define('header_mismatch', 400, HEADER_MISMATCH, 'denied', `Header mismatch: ${detail}.`, { reason: detail }),
  unsupportedVersion: (requested: string, supported: readonly string[]) =>
    define(
      'protocol_version',
      400,
      UNSUPPORTED_VERSION,
      'failed',
      `Protocol version ${requested} is not supported. Supported: ${supported.join(', ')}.`,
      { data: { supported, requested } },
    ),
  badMeta: (detail: string) => define('bad_meta', 400, PARAMS, 'failed', `Invalid params: ${detail}`),
  /** Clients of 2026-07-28 send requests only. */
  responseNotExpected: () =>
    define(
      'invalid_request',
      400,
      INVALID,
      'failed',
      'A JSON-RPC response is not expected here: answer input requests by calling again with inputResponses.',
    ),
  badParams: (detail: string) => define('bad_params', 200, PARAMS, 'failed', `Invalid params: ${detail}`),
  tooManySubscriptions: () =>
    define(
      'too_many_subscriptions',
      200,
      GENERAL,
      'limited',
      'This session has as many resource subscriptions as one may have. End some with resources/unsubscribe.',
    ),
  /** A denied tool and an unknown one read the same; the audit knows why. */
  noTool: (name: string, reason: string) =>
    define('no_tool', 200, PARAMS, 'denied', `No tool named ${name} is available to you; tools/list shows what is.`, {
      asToolResult: true,
      reason,
    }),
  noPrompt: (name: string, reason: string) =>
    define(
      'no_prompt',
      200,
      PARAMS,
      'denied',
      `No prompt named ${name} is available to you; prompts/list shows what is.`,
      {
        reason,
      },
    ),
  /** A denied resource and an unknown one read the same. */
  noResource: (uri: string, era: Era, reason: string) =>
    define(
      'no_resource',
      200,
      era === 'modern' ? PARAMS : NO_RESOURCE,
      'denied',
      `Resource not found: ${uri}. resources/list and resources/templates/list show what is available to you.`,
      { reason, data: { uri } },
    ),
  /** A response whose id belongs to no request that was made on this session. */
  unknownQuestion: () =>
    define(
      'unknown_question',
      400,
      INVALID,
      'denied',
      'No request with this id was made on this session. Answer with the id that the request came with.',
      { reason: 'an answer to a request that was never made here' },
    ),
  noTask: (reason: string) =>
    define('no_task', 200, PARAMS, 'denied', 'No such task: it is not yours, has ended, or never was.', { reason }),
  /** The upstream asked for input that this client cannot give. */
  needsInput: (connection: string, what: string) =>
    define(
      'needs_input',
      502,
      INTERNAL,
      'failed',
      `The MCP server behind "${connection}" needs ${what}, which this client does not support.`,
      { asToolResult: true, reason: `needs ${what}` },
    ),
  unavailable: (connection: string, detail: string, retry: string) =>
    define('unavailable', 502, INTERNAL, 'failed', `The MCP server behind "${connection}" ${detail}. ${retry}`, {
      asToolResult: true,
      reason: detail,
    }),
  upstreamError: (connection: string, detail: string) =>
    define(
      'upstream_error',
      502,
      INTERNAL,
      'failed',
      `The MCP server behind "${connection}" refused the call: ${detail}.`,
      {
        asToolResult: true,
        reason: detail,
      },
    ),
  credential: (connection: string, status: number) =>
    define(
      'credential',
      502,
      INTERNAL,
      'failed',
      `The MCP server behind "${connection}" did not accept the gateway's credential. This is not your key; ask the gateway operator to renew the credential of the connection "${connection}".`,
      { asToolResult: true, reason: `upstream answered ${status}` },
    ),
  credentialFault: (connection: string, reason: string) =>
    define(
      'credential',
      502,
      INTERNAL,
      'failed',
      `The gateway cannot read its credential for "${connection}". This is not your key; ask the gateway operator to run "sallyport doctor".`,
      { asToolResult: true, reason },
    ),
  /** Its client does not wait for it any more. */
  cancelled: () =>
    define('cancelled', 200, GENERAL, 'failed', 'The request was cancelled by its client.', {
      reason: 'cancelled by the client',
    }),
  storeAway: () =>
    define(
      'store_away',
      503,
      INTERNAL,
      'failed',
      'The gateway cannot reach its database, which this request needs. Try again in a few seconds.',
      { asToolResult: true, headers: [['retry-after', '2']] },
    ),
  relayAway: () =>
    define(
      'relay_away',
      503,
      INTERNAL,
      'failed',
      'The part of the gateway that serves this request is restarting. Try again in a few seconds.',
      { asToolResult: true, headers: [['retry-after', '2']] },
    ),
  deadline: () =>
    define('deadline', 504, INTERNAL, 'failed', 'The gateway did not finish preparing this call in time. Try again.', {
      asToolResult: true,
    }),
  starting: () =>
    define(
      'starting',
      503,
      INTERNAL,
      'failed',
      'The gateway is starting and has no configuration yet. Try again in a few seconds.',
      {
        headers: [['retry-after', '2']],
      },
    ),
  internal: (incident: string) =>
    define(
      'internal',
      500,
      INTERNAL,
      'failed',
      `The gateway failed on this request. Report incident ${incident} to its operator.`,
      {
        asToolResult: true,
      },
    ),
} as const;

/** The JSON-RPC message that carries a problem to the client. `id` is the request id's own text, or `null`. */
export function problemBody(
  problem: Problem,
  id: string,
  isToolCall: boolean,
  era: Era,
): { status: number; body: Buffer } {
  if (problem.asToolResult && isToolCall && id !== 'null') {
    const text = JSON.stringify(problem.message);
    return {
      status: 200,
      body: Buffer.from(
        `{"jsonrpc":"2.0","id":${id},"result":{${era === 'modern' ? '"resultType":"complete",' : ''}"content":[{"type":"text","text":${text}}],"isError":true}}`,
      ),
    };
  }
  return {
    status: problem.status,
    body: Buffer.from(
      `{"jsonrpc":"2.0","id":${id},"error":{"code":${problem.rpcCode},"message":${JSON.stringify(problem.message)}${problem.data === undefined ? '' : `,"data":${problem.data}`}}}`,
    ),
  };
}
