/** Calls across the eras whose client may be asked things in their middle, and what it answers. */
import { problems } from '../../exchange/problem.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { type Retry, readRetry } from '../../translate/input-required.ts';
import { sendProblem } from '../refusal.ts';
import type { WorkEntry } from '../world.ts';
import { bridgeProblems } from './bridge-problems.ts';
import { ParkedCalls, type ParkedCallsOptions } from './parked-calls.ts';
import { Questions } from './questions.ts';
import { Reply } from './reply.ts';
import { openRequestState } from './request-state.ts';
import { restoreExchange } from './restore.ts';
import { SideQuestions } from './side-questions.ts';
import { callLegacy, resumeLegacy, type Serving } from './to-legacy.ts';
import { callModern } from './to-modern.ts';
import { areAccepted } from './url-elicitation.ts';

export interface Bridge {
  /** POSTs with work `call`. */
  readonly call: WorkEntry;
  /** POSTs with work `answer`. */
  readonly answer: WorkEntry;
  /** What was asked of clients and is not answered, calls that are parked for it included. */
  readonly waiting: number;
  /** Ends what is parked, and what is listened to. */
  close(): void;
}

export function createBridge(options: ParkedCallsOptions = {}): Bridge {
  const questions = new Questions();
  const parked = new ParkedCalls(options);
  const sideQuestions = new SideQuestions();

  const call: WorkEntry = async (errand) => {
    const { request, response, world, body } = errand;
    const { exchange, problem } = restoreExchange(errand);
    const { connection, envelope } = exchange;
    const answering = (): Reply => new Reply(exchange, response, world.pulse);
    if (problem !== undefined || connection === undefined || envelope === undefined) {
      return answering().refuse(problem ?? problems.relayAway());
    }
    // Only what crosses the eras comes here.
    if (exchange.client?.era === 'legacy') {
      return callModern(exchange, connection, answering(), questions, world);
    }
    const serving = (): Serving => ({ exchange, reply: answering(), parked, sideQuestions, world });
    const retry = readRetry(envelope);
    if (retry === 'none') return callLegacy(serving(), connection);
    if ('fault' in retry) return answering().refuse(bridgeProblems.badResponses(retry.fault));
    const state = openRequestState(world.vault, retry.state, exchange, Date.now());
    if (state === undefined) return answering().refuse(bridgeProblems.badState());
    if (state.kind === 'again') return callAgain(serving(), connection, state.keys, retry);
    if (state.relayId !== world.relayId) {
      const how = await world.peers.pass(state.relayId, request, body, response);
      return how === 'passed' ? undefined : answering().refuse(bridgeProblems.interrupted());
    }
    const waiting = parked.take(state.parkId);
    if (waiting === undefined) return answering().refuse(bridgeProblems.badState());
    return resumeLegacy(serving(), waiting, retry.responses);
  };

  const answer: WorkEntry = async ({ request, response, world, ticket, body }) => {
    const [relayId, questionId] = ticket.question ?? [];
    const { session } = ticket;
    const unknown = (): void => void sendProblem(response, problems.unknownQuestion());
    if (relayId === undefined || questionId === undefined || session === null) return unknown();
    if (relayId !== world.relayId) {
      return (await world.peers.pass(relayId, request, body, response)) === 'passed' ? undefined : unknown();
    }
    const message = parseResponse(body);
    const { kind, outcome } = message ?? {};
    if (outcome === undefined || kind === undefined || kind === 'message' || body[outcome.start] !== 0x7b) {
      return void sendProblem(response, problems.invalidRequest('a response needs a result or an error, an object'));
    }
    const bytes = Buffer.from(body.subarray(outcome.start, outcome.end));
    if (!questions.answer(questionId, session.id, { kind, bytes })) return unknown();
    response.writeHead(202).end();
  };

  return {
    call,
    answer,
    get waiting() {
      return questions.size + parked.size;
    },
    close() {
      parked.dropAll('the gateway stops');
      sideQuestions.close();
    },
  };
}

/** The user has been where the upstream wanted, or would not go. */
function callAgain(
  serving: Serving,
  connection: Connection,
  keys: readonly string[],
  { responses }: Retry,
): void | Promise<void> {
  if (areAccepted(keys, responses)) return callLegacy(serving, connection);
  serving.reply.refuse(bridgeProblems.declined(connection.name));
}
