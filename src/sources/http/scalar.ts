import { ExactNumber, type Json } from '../../mcp/exact-json.ts';

/** What can be written where one value is asked for. NaN and the infinities are no numbers of JSON. */
export function isScalar(value: Json | undefined): value is string | number | boolean | ExactNumber {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value === 'string' || typeof value === 'boolean' || value instanceof ExactNumber;
}
