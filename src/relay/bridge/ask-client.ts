/** Puts what a modern upstream wants to know to a legacy client: requests on the stream of the call (MCP 2025-11-25). */
import { randomUUID } from 'node:crypto';
import type { Session } from '../../exchange/exchange.ts';
import type { Problem } from '../../exchange/problem.ts';
import { stringAt } from '../../mcp/json.ts';
import { insertMembers } from '../../mcp/object-edit.ts';
import { splice } from '../../mcp/splice.ts';
import { type InputRequest, modeIn } from '../../translate/input-required.ts';
import { member } from '../../translate/member.ts';
import type { RelayWorld } from '../world.ts';
import { bridgeProblems } from './bridge-problems.ts';
import type { ClientAnswer, Questions } from './questions.ts';
import type { Reply } from './reply.ts';

export interface Asking {
  readonly connection: string;
  readonly session: Session;
  readonly reply: Reply;
  readonly questions: Questions;
  readonly world: RelayWorld;
}

/**
 * Resolves with the bytes of each result by key, or with why there are none. Rejects with the signal's reason. Whatever
 * the end, nothing stays asked.
 */
export async function askClient(
  requests: readonly InputRequest[],
  { connection, session, reply, questions, world }: Asking,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer> | Problem> {
  const asked = requests.flatMap((request) => {
    const question = questions.ask(session);
    if (question === undefined) return [];
    const handle = world.handles.wrap('request', session.id, ['', world.relayId, question.id]);
    return [{ ...question, request, handle }];
  });
  if (asked.length < requests.length) {
    for (const { id } of asked) questions.withdraw(id);
    return bridgeProblems.tooManyWaiting();
  }
  const results = new Map<string, Buffer>();
  let give = (): void => {};
  const ended = new Promise<never>((_resolve, reject) => {
    give = () => reject(signal.reason);
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
  // It may lose its race before anybody looks.
  ended.catch(() => {});
  try {
    for (const { handle, request } of asked) await Promise.race([reply.say(requestMessage(handle, request)), ended]);
    const refusal = new Promise<Problem>((resolve) => {
      for (const { answer, request } of asked) {
        void answer.then((given) => {
          if (given.kind === 'error') resolve(refusedInput(connection, request.method, given));
          else results.set(request.key, given.bytes);
        });
      }
    });
    const all = Promise.all(asked.map(({ answer }) => answer)).then(() => undefined);
    const problem = await Promise.race([refusal, all, ended]);
    return problem ?? inOrder(requests, results);
  } finally {
    signal.removeEventListener('abort', give);
    for (const { id, handle } of asked) if (questions.withdraw(id)) void reply.say(takenBack(handle));
  }
}

function requestMessage(handle: string, { method, params }: InputRequest): Buffer {
  const head = `{"jsonrpc":"2.0","id":${JSON.stringify(handle)},"method":${JSON.stringify(method)}`;
  if (params === undefined) return Buffer.from(`${head}}`);
  return Buffer.concat([Buffer.from(`${head},"params":`), legacyParams(params), Buffer.from('}')]);
}

/** A visit to a URL has an id up to 2025-11-25, and none since. */
function legacyParams(params: Buffer): Buffer {
  const whole = { start: 0, end: params.length };
  if (modeIn(params) !== 'url' || member(params, whole, 'elicitationId') !== undefined) return params;
  return splice(params, [insertMembers(params, whole, `"elicitationId":"${randomUUID()}"`)]);
}

const takenBack = (handle: string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${JSON.stringify(handle)}}}`);

function refusedInput(connection: string, method: string, { bytes }: ClientAnswer): Problem {
  const message = member(bytes, { start: 0, end: bytes.length }, 'message');
  const isText = message !== undefined && bytes[message.start] === 0x22;
  const detail = isText ? stringAt(bytes, message.start, message.end).slice(0, 300) : 'no reason given';
  return bridgeProblems.refusedInput(connection, method, detail);
}

/** As they were asked, whatever order the answers came in. */
function inOrder(requests: readonly InputRequest[], results: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  return new Map(requests.flatMap(({ key }) => (results.has(key) ? [[key, results.get(key) as Buffer] as const] : [])));
}
