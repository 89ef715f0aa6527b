/**
 * Which family of revisions an upstream speaks: it is asked `server/discover`, and a server that does not answer as a
 * modern one is a legacy one (MCP 2026-07-28, Streamable HTTP, "Backward Compatibility").
 */
import { LATEST_MODERN, LEGACY_VERSIONS, META, MODERN_VERSIONS } from '../mcp/revision.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { startDeadline } from './deadline.ts';
import { type Egress, EgressError } from './egress.ts';
import { modernRequest } from './modern-request.ts';
import { type PostResult, post } from './post.ts';
import {
  expectResult,
  type Handshake,
  isObject,
  MAX_ANSWER_BYTES,
  outcomeOf,
  parsedObject,
  selfDescription,
  UpstreamError,
} from './upstream-client.ts';

/** What a modern server tells of itself. */
export interface Discovery extends Handshake {
  /** How long this may be kept. Milliseconds; undefined if it does not say. */
  readonly ttlMs: number | undefined;
}

export type Verdict =
  | { readonly era: 'legacy' }
  | { readonly era: 'modern'; readonly discovery: Discovery }
  /** Modern beyond doubt, and yet it refuses. */
  | { readonly era: 'modern'; readonly refusal: UpstreamError }
  /** The answer says nothing about the era. Whoever asks on as before will hear the reason. */
  | { readonly era: undefined; readonly reason: UpstreamError | EgressError };

/** A server that is silent about what it does not know is legacy, or slow. Milliseconds. */
const PROBE_TIMEOUT_MS = 5000;

/** MCP 2026-07-28, "Error Codes": only modern servers have these. */
const UNSUPPORTED_VERSION = -32022;
const MODERN_ERRORS: readonly unknown[] = [-32020, -32021, UNSUPPORTED_VERSION];
/** Statuses that come from what stands before a server, or pass. */
const NO_EVIDENCE: readonly number[] = [401, 403, 407, 408, 425, 429];

/** Throws EgressError or UpstreamError if the upstream cannot be reached at all. */
export async function probeEra(egress: Egress, connection: Connection, signal: AbortSignal): Promise<Verdict> {
  const deadline = startDeadline(PROBE_TIMEOUT_MS, signal);
  try {
    return await ask(egress, connection, LATEST_MODERN, deadline.signal, true);
  } catch (error) {
    if (error instanceof EgressError && deadline.signal.aborted && !signal.aborted) {
      return { era: undefined, reason: error };
    }
    throw error;
  } finally {
    deadline.release();
  }
}

/** `mayRetry`: with another version, if the server offers one. */
async function ask(
  egress: Egress,
  connection: Connection,
  version: string,
  signal: AbortSignal,
  mayRetry: boolean,
): Promise<Verdict> {
  const { body, headers } = modernRequest('server/discover', version, 'sallyport-discover');
  const answer = await post(egress, connection, body, { ...headers, maxBytes: MAX_ANSWER_BYTES, signal });
  const { response, status, localReply } = answer;
  if (localReply !== undefined) throw new UpstreamError(`could not be reached (${localReply})`, status);
  const outcome = outcomeOf(response);
  if (response?.kind === 'error' && outcome !== undefined) {
    const { code, data } = parsedObject(outcome);
    if (code === UNSUPPORTED_VERSION) {
      const supported = isObject(data) && Array.isArray(data.supported) ? data.supported : [];
      const choice = choose(supported, answer);
      if (choice.era === 'legacy' || 'refusal' in choice) return choice;
      if (mayRetry && choice.version !== version) return ask(egress, connection, choice.version, signal, false);
    }
    if (MODERN_ERRORS.includes(code)) return { era: 'modern', refusal: refusalOf(answer) };
  }
  if (status >= 500 || NO_EVIDENCE.includes(status) || (status >= 300 && status < 400)) {
    return { era: undefined, reason: refusalOf(answer) };
  }
  if (response?.kind !== 'result' || outcome === undefined || status >= 300) return LEGACY;
  const result = parsedObject(outcome);
  // Some servers answer anything with a result.
  if (!Array.isArray(result.supportedVersions)) return LEGACY;
  const choice = choose(result.supportedVersions, answer);
  if (choice.era === 'legacy' || 'refusal' in choice) return choice;
  const info = isObject(result._meta) ? result._meta[META.serverInfo] : undefined;
  return {
    era: 'modern',
    discovery: {
      sessionId: undefined,
      protocolVersion: choice.version,
      ...selfDescription(result, info),
      ttlMs: asTtl(result.ttlMs),
    },
  };
}

const LEGACY = { era: 'legacy' } as const;

/** The newest version that both speak. A server that names none of ours is legacy if it names an older one. */
function choose(
  supported: readonly unknown[],
  answer: PostResult,
): typeof LEGACY | { era: 'modern'; version: string } | { era: 'modern'; refusal: UpstreamError } {
  const version = MODERN_VERSIONS.find((one) => supported.includes(one));
  if (version !== undefined) return { era: 'modern', version };
  if (supported.some((one) => typeof one === 'string' && one <= (LEGACY_VERSIONS[0] as string))) return LEGACY;
  const named = supported.filter((one) => typeof one === 'string').map((one) => one.slice(0, 20));
  const what =
    named.length === 0 ? 'names no version of MCP that it speaks' : `speaks only MCP ${named.slice(0, 5).join(', ')}`;
  return {
    era: 'modern',
    refusal: new UpstreamError(`${what}; this gateway speaks ${MODERN_VERSIONS.join(', ')}`, answer.status),
  };
}

function refusalOf(answer: PostResult): UpstreamError {
  try {
    expectResult(answer, 'server/discover');
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
  return new UpstreamError(`answered server/discover with HTTP ${answer.status}`, answer.status);
}

/** A `ttlMs` as a number that can be stored; what is negative counts as 0 (MCP "Caching"). */
export function asTtl(value: unknown): number | undefined {
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  return Math.min(Math.max(0, Math.trunc(value)), 2 ** 31 - 1);
}
