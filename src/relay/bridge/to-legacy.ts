/**
 * A modern client's call to a legacy upstream. What the upstream asks in the middle of it becomes the call's result
 * (`input_required`); the call itself waits here until the client's next request brings the answers.
 */
import { startDeadline } from '../../egress/deadline.ts';
import type { Exchange, UpstreamCall } from '../../exchange/exchange.ts';
import { problems } from '../../exchange/problem.ts';
import { idText } from '../../mcp/envelope.ts';
import type { ResponseEnvelope } from '../../mcp/response.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { mayBePut, pong, refusalOf } from '../../translate/ask.ts';
import { inputRequiredResponse } from '../../translate/input-required.ts';
import { member } from '../../translate/member.ts';
import { Translation } from '../../translate/translation.ts';
import { ownerOf } from '../limits.ts';
import type { RelayWorld } from '../world.ts';
import { bridgeProblems } from './bridge-problems.ts';
import { failedCall, openCall } from './open-call.ts';
import type { ParkedCalls } from './parked-calls.ts';
import type { Reply } from './reply.ts';
import { sealRequestState } from './request-state.ts';
import type { Seat, SideQuestions } from './side-questions.ts';
import { LATE } from './upstream-answer.ts';
import { urlsToVisit } from './url-elicitation.ts';
import { WaitingCall } from './waiting-call.ts';

/** Questions that come together go out together. Milliseconds. */
const GATHER_MS = 5;

/** It is kept until it is answered, and may be asked once more. */
const MAX_ASK_BYTES = 4 << 20;
const tooLarge = (id: string): string =>
  `{"jsonrpc":"2.0","id":${id},"error":{"code":-32602,"message":"The request is larger than ${MAX_ASK_BYTES >> 20} MiB."}}`;

/** What serves one request of the client's. */
export interface Serving {
  readonly exchange: Exchange;
  readonly reply: Reply;
  readonly parked: ParkedCalls;
  readonly sideQuestions: SideQuestions;
  readonly world: RelayWorld;
}

/** A call that is made now. */
export async function callLegacy(serving: Serving, connection: Connection): Promise<void> {
  const { exchange, reply, world, sideQuestions } = serving;
  const deadline = startDeadline(connection.timeoutMs, reply.gone);
  let call: WaitingCall | undefined;
  let seat: Seat | undefined;
  const owner = ownerOfCall(exchange);
  const prepare = async ({ session }: UpstreamCall): Promise<void> => {
    seat?.leave();
    // Where principals share a session, nobody can say whose call such a question is about.
    const isAlone = session !== undefined && connection.session !== 'pooled';
    seat = isAlone ? sideQuestions.join(owner, connection, session, world) : undefined;
    if (call !== undefined) seat?.take(call);
    await seat?.ready;
  };
  try {
    const opened = await openCall(exchange, connection, { freshId: true, prepare }, world, deadline.signal);
    call = new WaitingCall(exchange, connection, opened, world, () => seat?.leave());
    seat?.take(call);
    await read(call, serving, deadline.signal);
  } catch (error) {
    seat?.leave();
    if (!reply.gone.aborted) reply.refuse(failedCall(connection, error));
  } finally {
    deadline.release();
  }
}

/** A call that was parked goes on. `responses`: what its client answers, by key. */
export async function resumeLegacy(
  serving: Serving,
  call: WaitingCall,
  responses: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const { reply } = serving;
  const deadline = startDeadline(call.connection.timeoutMs, reply.gone);
  try {
    await call.give(responses, deadline.signal);
    // Whatever the client left out it is asked again.
    if (call.open.length > 0) park(call, serving);
    else await read(call, serving, deadline.signal);
  } catch (error) {
    call.cancel('the call failed');
    if (!reply.gone.aborted) reply.refuse(failedCall(call.connection, error));
  } finally {
    deadline.release();
  }
}

/** Reads until the answer, a question, or an end that is neither. */
async function read(call: WaitingCall, serving: Serving, signal: AbortSignal): Promise<void> {
  const { exchange, reply, world } = serving;
  try {
    const translation = new Translation(exchange, call.callFor(exchange), world.handles, false);
    for (;;) {
      const message =
        call.open.length === 0 ? await call.answer.next(signal) : await call.answer.within(GATHER_MS, signal);
      if (message === LATE) return park(call, serving);
      if (message === undefined) {
        call.finish();
        reply.refuse(problems.upstreamError(call.connection.name, 'its answer ended before the response'));
        return;
      }
      const translated = translation.message(message);
      switch (translated.kind) {
        case 'pass':
          if (!isTakenBack(translated.bytes, call)) await reply.say(translated.bytes);
          break;
        case 'final':
          call.finish();
          reply.finish(translated.bytes);
          return;
        case 'needs input':
          call.finish();
          visitUrls(call, serving, translated.message);
          return;
        case 'ask':
          if (!take(call, exchange, translated.message, translated.id, translated.method)) {
            call.cancel('too many requests');
            reply.refuse(problems.upstreamError(call.connection.name, 'it asked for too much in the middle of it'));
            return;
          }
          break;
        case 'drop':
          world.log.debug({ connection: call.connection.name, reason: translated.reason }, 'a message was dropped');
      }
    }
  } catch (error) {
    // Here the end of the request is its cancellation (MCP 2026-07-28, "Cancellation").
    call.cancel(reply.gone.aborted ? 'the client ended the request' : 'the call failed');
    if (!reply.gone.aborted) reply.refuse(failedCall(call.connection, error));
  }
}

/** false: too much was asked. */
function take(call: WaitingCall, { client }: Exchange, message: ResponseEnvelope, id: string, method: string): boolean {
  if (method === 'ping') return call.reply(pong(id));
  const { bytes, params } = message;
  if (client === undefined || !mayBePut(message, client.capabilities)) return call.reply(refusalOf(id));
  if (params !== undefined && params.end - params.start > MAX_ASK_BYTES) return call.reply(tooLarge(id));
  return call.ask(id, method, params && Buffer.from(bytes.subarray(params.start, params.end)));
}

/** A cancellation from upstream is about one of its questions, of which a modern client knows no ids. */
function isTakenBack(bytes: Buffer, call: WaitingCall): boolean {
  if (!bytes.includes('notifications/cancelled')) return false;
  const root = { start: bytes.indexOf(0x7b), end: bytes.length };
  const method = member(bytes, root, 'method');
  if (method === undefined || bytes.toString('utf8', method.start, method.end) !== '"notifications/cancelled"')
    return false;
  const params = member(bytes, root, 'params');
  const id = params === undefined ? undefined : member(bytes, params, 'requestId');
  if (id !== undefined) call.withdraw(bytes.toString('utf8', id.start, id.end));
  return true;
}

const ownerOfCall = ({ principal }: Exchange): string => (principal === undefined ? '' : ownerOf(principal));

function park(call: WaitingCall, { exchange, reply, parked, world }: Serving): void {
  const parkId = parked.park(call, ownerOfCall(exchange));
  if (parkId === undefined) {
    call.cancel('too many calls wait for input');
    reply.refuse(bridgeProblems.tooManyWaiting());
    return;
  }
  const state = sealRequestState(world.vault, { kind: 'parked', relayId: world.relayId, parkId }, exchange, Date.now());
  reply.finish(inputRequiredResponse(idText(exchange.envelope), call.open, state));
}

/** Nothing waits upstream: the call has failed, and will be made again when the user has been there. */
function visitUrls({ connection }: WaitingCall, { exchange, reply, world }: Serving, message: ResponseEnvelope): void {
  const requests = urlsToVisit(message);
  if (requests === undefined) {
    reply.refuse(problems.upstreamError(connection.name, 'it wants the user to visit a page and does not say which'));
    return;
  }
  if (exchange.client?.capabilities.elicitsUrl !== true) {
    reply.refuse(problems.needsInput(connection.name, 'the user to visit a page'));
    return;
  }
  const keys = requests.map(({ key }) => key);
  const state = sealRequestState(world.vault, { kind: 'again', keys }, exchange, Date.now());
  reply.finish(inputRequiredResponse(idText(exchange.envelope), requests, state));
}
