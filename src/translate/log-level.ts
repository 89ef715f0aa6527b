import { type Span, stringAt, walkObject } from '../mcp/json.ts';

/** RFC 5424 §6.2.1, least severe first, as MCP names them. */
export const LOG_LEVELS: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

/** Whether `notifications/message` may reach a client that asked for `wanted`; without a wish it may not (MCP 2026-07-28). */
export function isLoudEnough(bytes: Buffer, params: Span | undefined, wanted: string | undefined): boolean {
  if (wanted === undefined || params === undefined || bytes[params.start] !== 0x7b) return false;
  let level = '';
  walkObject(bytes, params.start, 1, (key, start, end) => {
    if (key === 'level' && bytes[start] === 0x22) level = stringAt(bytes, start, end);
  });
  const least = LOG_LEVELS.indexOf(wanted);
  return least >= 0 && LOG_LEVELS.indexOf(level) >= least;
}
