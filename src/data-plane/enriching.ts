/** Enrichment of one exchange's result: whether any rule fits it, and what the rules see. */
import { enrich } from '../enrichment/engine.ts';
import { type SeenPrincipal, seenTool } from '../enrichment/root.ts';
import type { CompiledRule, RuleOutcome } from '../enrichment/rule.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { type Json, type JsonObject, parseJson } from '../mcp/exact-json.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import type { Tenant } from '../snapshot/snapshot.ts';
import { createCallTool } from '../sources/mcp/call-tool.ts';
import type { Mouth } from './ending.ts';
import type { World } from './world.ts';

/** Made once: an error that is made for each client that goes away costs more than all else that is done then. */
const GONE = new Error('nobody waits for the result any more');

/** Audit rows stay small, however many rules there are. */
const MAX_RECORDED = 50;

/** Told of each rule that ran. */
type Ran = Mouth['ran'];

/** undefined: no rule fits what is called. */
export function enrichmentOf(exchange: Exchange, world: World, ran: Ran): Enriching | undefined {
  const { envelope, target, tenant } = exchange;
  if (envelope?.method !== 'tools/call' || target?.kind !== 'tool' || tenant === undefined) return undefined;
  const rules = tenant.rules.forTool(target.connection.name, target.upstreamName);
  return rules.length === 0 ? undefined : new Enriching(exchange, tenant, rules, world, ran);
}

export class Enriching {
  private readonly exchange: Exchange;
  private readonly tenant: Tenant;
  private readonly rules: readonly CompiledRule[];
  private readonly world: World;
  private readonly ran: Ran;
  /** While rules run. */
  private waiting: AbortController | undefined;
  private outcomes: readonly RuleOutcome[] = [];

  constructor(exchange: Exchange, tenant: Tenant, rules: readonly CompiledRule[], world: World, ran: Ran) {
    this.exchange = exchange;
    this.tenant = tenant;
    this.rules = rules;
    this.world = world;
    this.ran = ran;
  }

  /** The client is gone: no source is asked any further. */
  abandon(): void {
    this.waiting?.abort(GONE);
  }

  /** The message for the client with what the rules add. `final`: the upstream's response that it was made of. */
  async apply(bytes: Buffer, final: ResponseEnvelope): Promise<Buffer> {
    const { exchange, world, tenant } = this;
    const message = bytes === final.bytes ? final : parseResponse(bytes);
    if (message?.outcome === undefined || message.kind !== 'result') return bytes;
    const { enrichment, meters } = world;
    this.waiting = new AbortController();
    const { bytes: enriched, outcomes } = await enrich(
      {
        bytes,
        result: message.outcome,
        rules: this.rules,
        args: argsOf(exchange),
        principal: principalOf(exchange),
        tool: toolOf(exchange),
        sessionId: exchange.session?.id,
      },
      {
        ...enrichment,
        definitions: tenant.sources,
        callTool: createCallTool(exchange, world),
        isDryRun: false,
        onOutcome: (outcome, began, ended) => {
          meters.rule(outcome);
          this.ran(outcome, began, ended);
        },
      },
      this.waiting.signal,
    );
    this.waiting = undefined;
    this.outcomes = outcomes;
    return enriched;
  }

  /** The result goes on as it came, because it is larger than anything that is edited. */
  tooLarge(bytes: number): void {
    const reason = `the result is larger than ${bytes} bytes`;
    this.outcomes = this.rules.map(({ name, version }) => ({ rule: name, version, outcome: 'skipped', reason, ms: 0 }));
  }

  /** For the audit row. */
  get recorded(): readonly RuleOutcome[] {
    const { outcomes } = this;
    if (outcomes.length <= MAX_RECORDED) return outcomes;
    // What did something before what did not.
    return [...outcomes.filter(isTelling), ...outcomes.filter((one) => !isTelling(one))].slice(0, MAX_RECORDED);
  }
}

const isTelling = ({ outcome }: RuleOutcome): boolean => outcome !== 'skipped';

function argsOf({ envelope }: Exchange): Json {
  if (envelope?.arguments === undefined) return {};
  return parseJson(envelope.bytes.toString('utf8', envelope.arguments.start, envelope.arguments.end));
}

function principalOf({ principal, persona, client, session, namespace }: Exchange): SeenPrincipal {
  return {
    subject: principal?.subject ?? '',
    tenant: principal?.tenant ?? '',
    roles: principal?.roles ?? [],
    method: principal?.method ?? '',
    persona: persona?.name ?? '',
    client: client?.clientName ?? session?.clientName ?? '',
    namespace: namespace?.name ?? '',
  };
}

function toolOf({ target }: Exchange): JsonObject {
  if (target === undefined) return {};
  const { upstreamName: name, wireName, connection, item } = target;
  return seenTool({ name, wireName, connection: connection.name, item });
}
