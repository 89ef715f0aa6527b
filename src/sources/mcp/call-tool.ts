/**
 * A rule's source may be a tool: it is called as the caller, under the caller's own persona and on the caller's own session
 * with that upstream, straight through egress (so nothing enriches it in turn), and leaves an audit row of its own.
 */
import { auditRow } from '../../audit/record.ts';
import type { World } from '../../data-plane/world.ts';
import { EgressError } from '../../egress/egress.ts';
import { type PostResult, post } from '../../egress/post.ts';
import { UpstreamError } from '../../egress/upstream-client.ts';
import type { Exchange, UpstreamCall } from '../../exchange/exchange.ts';
import { type Problem, problems, type Verdict } from '../../exchange/problem.ts';
import { EnvelopeError } from '../../mcp/envelope.ts';
import type { JsonObject } from '../../mcp/exact-json.ts';
import { parseResponse, type ResponseEnvelope } from '../../mcp/response.ts';
import { ruleText } from '../../policy/decide.ts';
import { isOutOfReach, outOfReach } from '../../routing/by-relay.ts';
import { cancelUpstream } from '../../routing/cancel.ts';
import { outgoing } from '../../routing/outgoing.ts';
import { repeatCall, speaksOfSession } from '../../routing/repeat.ts';
import { upstreamProblem } from '../../routing/route.ts';
import { ownerOf } from '../../sessions/owner.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { type Asked, SourceError } from '../source.ts';
import type { CallTool } from '../sources.ts';
import { within } from '../within.ts';
import { answerOf, type ToolAnswer } from './answer.ts';
import { innerCall } from './inner-call.ts';

/** For the rules of one call. */
export function createCallTool(exchange: Exchange, world: World): CallTool {
  return async (wireName, args, asked) => new ToolCall(readCall(exchange, wireName, args), world, asked).run(wireName);
}

/** Kinds of a tool's own no. */
const SAYS_NO: ReadonlySet<SourceError['kind']> = new Set(['refused', 'bad value']);

/** Text besides what is kept: content that repeats the structured one, escaped. */
const ENVELOPE_BYTES = 65_536;

function readCall(exchange: Exchange, wireName: string, args: JsonObject): Exchange {
  try {
    return innerCall(exchange, wireName, args);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    throw new SourceError('bad value', `its arguments cannot be sent: ${error.message}`);
  }
}

class ToolCall {
  private readonly exchange: Exchange;
  private readonly world: World;
  private readonly asked: Asked & { readonly rule: string };
  private readonly startedAt = performance.now();
  private sentAt: number | undefined;
  private answeredAt: number | undefined;
  private status: number | undefined;
  private response: ResponseEnvelope | undefined;

  constructor(exchange: Exchange, world: World, asked: Asked & { readonly rule: string }) {
    this.exchange = exchange;
    this.world = world;
    this.asked = asked;
  }

  async run(wireName: string): Promise<ToolAnswer> {
    try {
      const { connection, decision } = this.exchange;
      if (connection === undefined || decision === undefined) {
        throw this.refused(problems.noTool(wireName, 'no such tool in this namespace'), 'bad value');
      }
      if (!decision.allowed) throw this.refused(problems.noTool(wireName, ruleText(decision)), 'bad value');
      this.response = await this.call(connection);
      const answer = answerOf(wireName, this.response);
      this.record('allowed', undefined);
      return answer;
    } catch (error) {
      const { problem } = this.exchange;
      const reason = problem?.reason ?? (error instanceof Error ? error.message : String(error));
      // A tool that says no has answered.
      const isAnswer = this.response !== undefined && error instanceof SourceError && SAYS_NO.has(error.kind);
      this.record(problem?.verdict ?? (isAnswer ? 'allowed' : 'failed'), reason);
      throw error;
    }
  }

  private async call(connection: Connection): Promise<ResponseEnvelope> {
    const { exchange, asked, world } = this;
    const { fault } = connection.injection;
    if (fault !== undefined) throw this.refused(problems.credentialFault(connection.name, fault), 'unavailable');
    if (isOutOfReach(connection, world)) throw this.refused(outOfReach(connection), 'unavailable');
    try {
      const call = await this.prepare(connection);
      exchange.upstream = call;
      this.sentAt = performance.now();
      const answer = await post(world.egress, connection, call.body, {
        extraHeaders: call.headers,
        path: call.path,
        maxBytes: 4 * asked.maxBytes + ENVELOPE_BYTES,
        signal: asked.signal,
      });
      this.answeredAt = performance.now();
      this.status = answer.localReply === undefined ? answer.status : undefined;
      return isLost(call, answer) ? await this.repeat(connection, call, answer.status) : read(connection, answer);
    } catch (error) {
      if (asked.signal.aborted) {
        this.giveUp();
        throw asked.signal.reason;
      }
      if (!(error instanceof EgressError) && !(error instanceof UpstreamError)) throw error;
      throw new SourceError('unavailable', plain(upstreamProblem(connection, error)), { cause: error });
    }
  }

  private async prepare(connection: Connection): Promise<UpstreamCall> {
    const { exchange, world, asked } = this;
    const { client, principal, session } = exchange;
    if (client === undefined || principal === undefined) throw new Error('a call for nobody');
    if (client.era === 'modern') {
      return outgoing(exchange, connection, { session: undefined, owner: undefined, freshId: true });
    }
    const owner = ownerOf(connection, client, session, principal, exchange.at);
    const acquired = Promise.resolve(world.upstreamSessions.acquire(connection, owner));
    return outgoing(exchange, connection, { session: await within(asked.signal, acquired), owner, freshId: true });
  }

  private async repeat(connection: Connection, call: UpstreamCall, status: number): Promise<ResponseEnvelope> {
    const repeated = await repeatCall(this.exchange, connection, call, status, this.world, this.asked.signal);
    this.answeredAt = performance.now();
    this.asked.signal.throwIfAborted();
    if ('problem' in repeated) throw this.refused(repeated.problem, 'unavailable');
    this.status = repeated.status;
    const response = parseResponse(repeated.body);
    if (response === undefined) throw new SourceError('bad answer', `${behind(connection)} gave no MCP answer`);
    return response;
  }

  /** A legacy upstream does not take the end of the request for the end of the call. */
  private giveUp(): void {
    const { upstream } = this.exchange;
    if (upstream === undefined) return;
    cancelUpstream(this.exchange, upstream, this.world, 'the time for it is up');
  }

  private refused(problem: Problem, kind: SourceError['kind']): SourceError {
    this.exchange.problem = problem;
    return new SourceError(kind, plain(problem));
  }

  private record(verdict: Verdict, reason: string | undefined): void {
    const { response, exchange, asked, sentAt } = this;
    const now = performance.now();
    const upstreamMs = sentAt === undefined ? undefined : (this.answeredAt ?? now) - sentAt;
    const rule = `for rule ${asked.rule}`;
    this.world.audit.push(
      auditRow(exchange, {
        verdict,
        reason: reason === undefined ? rule : `${rule}: ${reason}`,
        upstreamStatus: this.status,
        isError: response?.isError,
        httpStatus: undefined,
        bytesOut: undefined,
        enrichment: undefined,
        result: response?.outcome && response.bytes.subarray(response.outcome.start, response.outcome.end),
        durationUs: Math.round((now - this.startedAt) * 1000),
        upstreamUs: upstreamMs === undefined ? undefined : Math.round(upstreamMs * 1000),
        processorUs: Math.round((now - this.startedAt - (upstreamMs ?? 0)) * 1000),
      }),
    );
  }
}

/** The session is gone, so the call did not run. */
const isLost = ({ session }: UpstreamCall, { status, response, localReply }: PostResult): boolean =>
  session !== undefined &&
  localReply === undefined &&
  (status === 404 || (status === 400 && response !== undefined && speaksOfSession(response.bytes)));

function read(connection: Connection, { status, response, localReply }: PostResult): ResponseEnvelope {
  if (localReply !== undefined) throw new SourceError('unavailable', `${behind(connection)} cannot be reached`);
  if (status === 401 || status === 403) {
    throw new SourceError('unavailable', `${behind(connection)} did not accept the gateway's credential (${status})`);
  }
  if (response === undefined) throw new SourceError('bad answer', `${behind(connection)} answered HTTP ${status}`);
  return response;
}

const behind = ({ name }: Connection): string => `the MCP server behind "${name}"`;

/** As part of a sentence. */
const plain = ({ message }: Problem): string => message.replace(/\.$/, '');
