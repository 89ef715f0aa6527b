/**
 * What the catalog knows of an upstream before it asks for lists: which era it speaks, over which transport, and what it
 * says of itself. A verdict on the era expires, and is doubted after every failure: servers are replaced under their URL.
 */
import { ANY_CLIENT } from '../egress/any-client.ts';
import { type Egress, EgressError } from '../egress/egress.ts';
import { probeEra } from '../egress/era-probe.ts';
import { endSession } from '../egress/session.ts';
import { speaksSse } from '../egress/sse-probe.ts';
import { type Handshake, openSession, UpstreamError } from '../egress/upstream-client.ts';
import type { Era } from '../mcp/revision.ts';
import type { Connection, Transport } from '../snapshot/snapshot.ts';

/** A legacy verdict is believed for so long; a modern server proves itself with every look. Milliseconds. */
const ERA_LIFETIME_MS = 10 * 60_000;

/** What a server without streamable HTTP says to a POST (MCP 2025-11-25 transports, "Backwards Compatibility"). */
const NO_STREAMABLE_HTTP: readonly number[] = [400, 404, 405];

const DECLARED = { capabilities: JSON.stringify(ANY_CLIENT) };

export interface Introduction extends Handshake {
  readonly era: Era;
  readonly transport: Transport;
  /** When the era was found out. Milliseconds since the epoch; undefined: the server did not say, it is as before. */
  readonly eraCheckedAt: number | undefined;
  /** How long what it said may be kept, where it says so. Milliseconds. */
  readonly ttlMs: number | undefined;
  /** How a modern server answers legacy clients, if it does. */
  readonly legacy: LegacySide | undefined;
}

export interface LegacySide {
  readonly protocolVersion: string;
  /** It mints session ids. */
  readonly hasSessions: boolean;
}

/** Throws EgressError or UpstreamError, and so do its methods. */
export class Acquaintance {
  /** As it is asked over streamable HTTP. */
  private readonly connection: Connection;
  private readonly egress: Egress;
  private readonly now: () => number;
  private knownEra: Era;
  private knownTransport: Transport;
  private checkedAt: number | undefined;
  /** Open with a legacy upstream that mints ids. */
  private session: Handshake | undefined;
  /** Of a modern server, and when that was found out. */
  private wantsLegacy: boolean;
  private legacySide: { readonly side: LegacySide | undefined; readonly at: number } | undefined;

  /** `now`: milliseconds since the epoch. */
  constructor(connection: Connection, egress: Egress, now: () => number = Date.now) {
    this.connection = over(connection, 'http');
    this.egress = egress;
    this.now = now;
    this.knownEra = connection.catalog.era;
    this.wantsLegacy = connection.catalog.legacyVersion !== undefined;
    this.knownTransport = connection.catalog.transport;
  }

  get era(): Era {
    return this.knownEra;
  }

  get transport(): Transport {
    return this.knownTransport;
  }

  /** The connection over the transport that was found. */
  get reached(): Connection {
    return over(this.connection, this.knownTransport);
  }

  get hasSession(): boolean {
    return this.session !== undefined;
  }

  /** On the session that is open, if it is a legacy one's and the verdict stands. */
  async meet(signal: AbortSignal): Promise<Introduction> {
    let failure: UpstreamError | undefined;
    if (this.knownEra === 'legacy' && this.isFresh()) {
      try {
        return await this.legacy(signal);
      } catch (error) {
        // It may have become a modern one.
        if (!(error instanceof UpstreamError)) throw error;
        failure = error;
      }
    }
    const verdict = await probeEra(this.egress, this.connection, signal);
    // A modern server is asked nothing that only legacy ones know.
    if (verdict.era === undefined && this.knownEra === 'modern') throw verdict.reason;
    if (verdict.era !== undefined) {
      this.knownEra = verdict.era;
      this.checkedAt = this.now();
    }
    if (verdict.era === 'modern') {
      this.close();
      this.knownTransport = 'http';
      if ('refusal' in verdict) throw verdict.refusal;
      const legacy = this.wantsLegacy ? await this.askLegacySide(signal) : undefined;
      return { ...verdict.discovery, era: 'modern', transport: 'http', eraCheckedAt: this.checkedAt, legacy };
    }
    // The same again, unless it may speak over another transport by now.
    if (failure !== undefined && this.knownTransport === 'http' && !isNoStreamableHttp(failure)) throw failure;
    return this.legacy(signal, this.session ?? (await this.discover(signal)));
  }

  /** The upstream has lost the session, or behaves as if: it may be another one by now. */
  forgetSession(): void {
    this.close();
    this.doubt();
  }

  /** A legacy client has come. Returns whether the next look will bring news of a modern server for it. */
  wantLegacy(): boolean {
    this.wantsLegacy = true;
    return this.knownEra === 'modern' && !this.isLegacySideFresh();
  }

  /** Something went wrong: the next look finds out the era anew. */
  doubt(): void {
    this.checkedAt = undefined;
    this.legacySide = undefined;
  }

  close(): void {
    if (this.session !== undefined) this.goodbye(this.reached, this.session);
    this.session = undefined;
  }

  private goodbye(connection: Connection, { sessionId: id, protocolVersion }: Handshake): void {
    endSession({ egress: this.egress }, connection, { id, protocolVersion });
  }

  private isFresh(): boolean {
    return this.checkedAt !== undefined && this.now() < this.checkedAt + ERA_LIFETIME_MS;
  }

  private async legacy(signal: AbortSignal, opened: Handshake | undefined = this.session): Promise<Introduction> {
    const session = opened ?? (await openSession(this.egress, this.reached, signal, DECLARED));
    // Without a session id there is nothing to keep: the next look begins anew and sees a changed server.
    if (session.sessionId !== undefined) this.session = session;
    const { knownTransport: transport, checkedAt: eraCheckedAt } = this;
    return { ...session, era: 'legacy', transport, eraCheckedAt, ttlMs: undefined, legacy: undefined };
  }

  /** Streamable HTTP first, then what was before it. */
  private async discover(signal: AbortSignal): Promise<Handshake> {
    try {
      const opened = await openSession(this.egress, this.connection, signal, DECLARED);
      this.knownTransport = 'http';
      return opened;
    } catch (error) {
      if (!(error instanceof UpstreamError) || !isNoStreamableHttp(error)) throw error;
      if (!(await speaksSse(this.egress, this.connection, signal))) throw error;
    }
    this.knownTransport = 'sse';
    return openSession(this.egress, this.reached, signal, DECLARED);
  }

  private isLegacySideFresh(): boolean {
    return this.legacySide !== undefined && this.now() < this.legacySide.at + ERA_LIFETIME_MS;
  }

  /**
   * Many servers speak both eras: a legacy client is best served in its own. Asked once such a client has come, because a
   * modern server has no need to hear of `initialize`, and as seldom as a legacy verdict is.
   */
  private async askLegacySide(signal: AbortSignal): Promise<LegacySide | undefined> {
    if (this.isLegacySideFresh()) return this.legacySide?.side;
    let side: LegacySide | undefined;
    try {
      const session = await openSession(this.egress, this.connection, signal, DECLARED);
      this.goodbye(this.connection, session);
      side = { protocolVersion: session.protocolVersion, hasSessions: session.sessionId !== undefined };
    } catch (error) {
      if (!(error instanceof UpstreamError) && !(error instanceof EgressError)) throw error;
    }
    this.legacySide = { side, at: this.now() };
    return side;
  }
}

const isNoStreamableHttp = ({ status }: UpstreamError): boolean => NO_STREAMABLE_HTTP.includes(status);

function over(connection: Connection, transport: Transport): Connection {
  return { ...connection, catalog: { ...connection.catalog, transport } };
}
