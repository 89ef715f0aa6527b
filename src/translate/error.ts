/** Error codes whose meaning depends on the era (MCP 2026-07-28, "Error Codes"; 2025-11-25, resources and elicitation). */
import { type Span, walkObject } from '../mcp/json.ts';
import type { Era } from '../mcp/revision.ts';
import type { Edit } from '../mcp/splice.ts';

const INVALID_PARAMS = -32602;
/** Legacy: no such resource. */
const NO_RESOURCE = -32002;
/** Legacy 2025-11-25: the call needs a visit to a URL first. */
export const URL_ELICITATION_REQUIRED = -32042;
/** Modern: the request needs a capability that its client has not declared. */
export const NEEDS_CAPABILITY = -32021;
/** Modern: header mismatch and unsupported version. About the gateway's own hop, whoever called: not the client's to mend. */
const ABOUT_THE_HOP = new Set([-32020, -32022]);
const INTERNAL = -32603;

export interface UpstreamError {
  readonly code: number;
  readonly codeSpan: Span;
  readonly data: Span | undefined;
}

/** The error object's code; undefined when it has none that is an integer. */
export function readError(bytes: Buffer, error: Span): UpstreamError | undefined {
  let codeSpan: Span | undefined;
  let data: Span | undefined;
  if (bytes[error.start] !== 0x7b) return undefined;
  walkObject(bytes, error.start, 1, (key, start, end) => {
    if (key === 'code') codeSpan = { start, end };
    if (key === 'data') data = { start, end };
  });
  if (codeSpan === undefined) return undefined;
  const code = Number(bytes.toString('latin1', codeSpan.start, codeSpan.end));
  return Number.isInteger(code) ? { code, codeSpan, data } : undefined;
}

/** The code that means the same to the client; `upstream`: who speaks. */
export function errorEdits({ code, codeSpan }: UpstreamError, upstream: Era, client: Era, method: string): Edit[] {
  if (upstream === 'modern' && ABOUT_THE_HOP.has(code)) return [{ ...codeSpan, with: String(INTERNAL) }];
  if (upstream === client) return [];
  // In answer to anything: a modern client must never see the old code.
  if (upstream === 'legacy' && code === NO_RESOURCE) return [{ ...codeSpan, with: String(INVALID_PARAMS) }];
  if (upstream === 'modern' && code === INVALID_PARAMS && method === 'resources/read')
    return [{ ...codeSpan, with: String(NO_RESOURCE) }];
  return [];
}

/** HTTP status that a modern client expects with an upstream's error (MCP 2026-07-28, Streamable HTTP). */
export function modernStatus(code: number): number {
  if (code === NEEDS_CAPABILITY) return 400;
  return code === -32601 ? 404 : 200;
}
