/** How a modern request describes itself, and whether its headers say the same (MCP 2026-07-28, Streamable HTTP). */
import { type Exchange, refuse, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { clientCapabilities, NO_CAPABILITIES } from '../mcp/capabilities.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { decodeHeaderValue, NAMED_BY } from '../mcp/header-value.ts';
import { LATEST_MODERN, META, MODERN_VERSIONS } from '../mcp/revision.ts';
import { LOG_LEVELS } from '../translate/log-level.ts';
import { clientName } from './client-name.ts';

/** The ladder in its order: each rung answers with the code that the specification gives it. */
export function meetModern(exchange: Exchange): StepResult {
  const { envelope, head } = exchange;
  exchange.client = UNKNOWN;
  if (envelope === undefined) return refuse(problems.batch('A request holds one JSON-RPC message, not a batch'));
  if (envelope.kind === 'response') return refuse(problems.responseNotExpected());
  // Notifications have no duties of their own: what headers they carry is not defined.
  if (envelope.kind === 'notification') return undefined;
  const { meta } = envelope;
  const version = meta?.protocolVersion;
  if (meta === undefined || version === undefined) {
    return refuse(problems.badMeta(`params._meta needs "${META.protocolVersion}", a string`));
  }
  const header = head.header('mcp-protocol-version');
  if (header === undefined) return mismatch(`MCP-Protocol-Version is missing; the body says ${shown(version)}`);
  if (header.trim() !== version) {
    return mismatch(`MCP-Protocol-Version is ${shown(header)}, the body says ${shown(version)}`);
  }
  if (!MODERN_VERSIONS.includes(version)) {
    return refuse(problems.unsupportedVersion(version.slice(0, 40), MODERN_VERSIONS));
  }
  if (meta.capabilities === undefined) {
    return refuse(problems.badMeta(`params._meta needs "${META.clientCapabilities}", an object`));
  }
  if (meta.capabilities.end - meta.capabilities.start > MAX_CAPABILITIES) {
    return refuse(problems.badMeta(`"${META.clientCapabilities}" is larger than ${MAX_CAPABILITIES} bytes`));
  }
  if (meta.logLevel !== undefined && !LOG_LEVELS.includes(meta.logLevel)) {
    return refuse(problems.badMeta(`"${META.logLevel}" must be one of ${LOG_LEVELS.join(', ')}`));
  }
  exchange.client = {
    era: 'modern',
    protocolVersion: version,
    capabilities: clientCapabilities(textOf(envelope, meta.capabilities)),
    clientName: meta.clientInfo === undefined ? '' : clientName(textOf(envelope, meta.clientInfo)),
    logLevel: meta.logLevel,
  };
  return checkMethod(exchange, envelope) ?? checkName(exchange, envelope);
}

/** They are remembered and travel in headers of ours. Bytes. */
const MAX_CAPABILITIES = 4096;

/** What answers to a client are shaped for before it is known better. */
const UNKNOWN = {
  era: 'modern',
  protocolVersion: LATEST_MODERN,
  capabilities: NO_CAPABILITIES,
  clientName: '',
  logLevel: undefined,
} as const;

function checkMethod({ head }: Exchange, { method }: Envelope): StepResult {
  const header = head.header('mcp-method')?.trim();
  if (header === undefined) return mismatch('Mcp-Method is missing');
  return header === method ? undefined : mismatch(`Mcp-Method is ${shown(header)}, the body says ${shown(method)}`);
}

function checkName({ head }: Exchange, envelope: Envelope): StepResult {
  const source = NAMED_BY.get(envelope.method);
  if (source === undefined) return undefined;
  const expected = envelope[source];
  const header = head.header('mcp-name');
  if (header === undefined) return mismatch('Mcp-Name is missing');
  const value = decodeHeaderValue(header);
  if (value === undefined) return mismatch('Mcp-Name is not a value that can be decoded');
  // A missing name is the body's fault, told by whoever needs it.
  if (expected === undefined || value === expected) return undefined;
  return mismatch(`Mcp-Name is ${shown(value)}, the body says ${shown(expected)}`);
}

const mismatch = (detail: string): StepResult => refuse(problems.headerMismatch(detail));

const textOf = (envelope: Envelope, span: { start: number; end: number }): string =>
  envelope.bytes.toString('utf8', span.start, span.end);

/** Bounded, for a message. */
const shown = (text: string): string => JSON.stringify(text.slice(0, 100));
