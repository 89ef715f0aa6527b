/** What only a bridged call can end with, in words for the agent. */
import type { Problem } from '../../exchange/problem.ts';

const PARAMS = -32602;
const INTERNAL = -32603;

function define(code: string, rpcCode: number, message: string, asToolResult: boolean, reason?: string): Problem {
  const verdict = 'failed';
  return { code, status: 200, rpcCode, message, asToolResult, headers: [], data: undefined, verdict, reason };
}

const AGAIN = 'Make the call again without requestState and inputResponses.';

export const bridgeProblems = {
  /** One answer for every reason: who did not get the state learns nothing about it. */
  badState: () =>
    define(
      'bad_state',
      PARAMS,
      `Invalid params: this requestState is not valid for this request: it has expired, was used already, or belongs to another call. ${AGAIN}`,
      false,
    ),
  badResponses: (detail: string) => define('bad_params', PARAMS, `Invalid params: ${detail}.`, false),
  interrupted: () =>
    define('interrupted', INTERNAL, `The call was interrupted while it waited for your input. ${AGAIN}`, false),
  tooManyWaiting: () =>
    define(
      'too_many_waiting',
      INTERNAL,
      'Too many calls are waiting for input at this gateway. Try again in a few minutes.',
      true,
    ),
  refusedInput: (connection: string, method: string, detail: string) =>
    define(
      'input_refused',
      INTERNAL,
      `The MCP server behind "${connection}" asked for input (${method}), and the client answered with an error: ${detail}`,
      true,
      'the client refused to give input',
    ),
  declined: (connection: string) =>
    define(
      'input_declined',
      INTERNAL,
      `The MCP server behind "${connection}" needs the user to visit a page first, and the user did not accept.`,
      true,
      'the user declined',
    ),
  noInputInTime: (connection: string, seconds: number) =>
    define(
      'no_input',
      INTERNAL,
      `The MCP server behind "${connection}" asked for input, and none came within ${seconds} s. Make the call again when the user is there.`,
      true,
      'no input in time',
    ),
} as const;
