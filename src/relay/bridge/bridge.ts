/** Calls across the eras whose client may be asked things in their middle, and what it answers. */
import { problems } from '../../exchange/problem.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { type Retry, readRetry } from '../../translate/input-required.ts';
import { readBody } from '../body.ts';
import { sendProblem } from '../refusal.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { bridgeProblems } from './bridge-problems.ts';
import { ParkedCalls, type ParkedCallsOptions } from './parked-calls.ts';
import { FORWARDED_HEADER, Peers } from './peers.ts';
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
  readonly call: Entry;
  /** POSTs with work `answer`. */
  readonly answer: Entry;
  /** What was asked of clients and is not answered, calls that are parked for it included. */
  readonly waiting: number;
  /** Ends what is parked, and what is listened to. */
  close(): void;
}

export function createBridge(options: ParkedCallsOptions = {}): Bridge {
  const questions = new Questions();
  const parked = new ParkedCalls(options);
  const sideQuestions = new SideQuestions();
  const peers = new Peers();

  const call: Entry = async (request, response, world, ticket) => {
    const snapshot = world.snapshot();
    if (ticket === undefined || snapshot === undefined) return void sendProblem(response, problems.starting());
    const limit = snapshot.settings.maxRequestBytes;
    const body = await readBody(request, limit);
    if (body === undefined) return void sendProblem(response, problems.tooLarge(limit));
    const { exchange, problem } = restoreExchange(ticket, request, body, snapshot, world);
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
      const isPassed = await pass(state.relayId, { request, body, response, world });
      return isPassed ? undefined : answering().refuse(bridgeProblems.interrupted());
    }
    const waiting = parked.take(state.parkId);
    if (waiting === undefined) return answering().refuse(bridgeProblems.badState());
    return resumeLegacy(serving(), waiting, retry.responses);
  };

  const answer: Entry = async (request, response, world, ticket) => {
    const [relayId, questionId] = ticket?.question ?? [];
    const session = ticket?.session;
    const limit = world.snapshot()?.settings.maxRequestBytes ?? 0;
    const body = await readBody(request, limit);
    if (body === undefined) return void sendProblem(response, problems.tooLarge(limit));
    const unknown = (): void => void sendProblem(response, problems.unknownQuestion());
    if (relayId === undefined || questionId === undefined || session == null) return unknown();
    if (relayId !== world.relayId) {
      return (await pass(relayId, { request, body, response, world })) ? undefined : unknown();
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

  /** To the relay that holds it; false: that one is gone, or was asked already. */
  async function pass(relayId: string, { request, body, response, world }: Passed): Promise<boolean> {
    if (request.headers[FORWARDED_HEADER] !== undefined) return false;
    const address = await world.store.addressOf(relayId);
    return address !== undefined && (await peers.pass(address, request, body, response)) === 'passed';
  }

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

interface Passed {
  readonly request: RelayRequest;
  readonly body: Buffer;
  readonly response: RelayResponse;
  readonly world: RelayWorld;
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
