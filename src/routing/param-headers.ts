/**
 * Tool arguments that travel in headers too (MCP 2026-07-28, "Custom Headers from Tool Parameters"): what a client sent is
 * checked against the body, and what an upstream gets is made from the body.
 */
import type { World } from '../data-plane/world.ts';
import { refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { decodeHeaderValue } from '../mcp/header-value.ts';
import { stringAt, walkObject } from '../mcp/json.ts';
import { type ParamHeader, paramHeaders } from '../mcp/param-headers.ts';
import type { CatalogItem } from '../snapshot/snapshot.ts';

export const checkParams: Step<World> = {
  name: 'check parameter headers',
  needs: ['target', 'client'],
  gives: [],
  run({ client, target, envelope, head }): StepResult {
    if (client?.era !== 'modern' || target?.kind !== 'tool' || envelope?.method !== 'tools/call') return undefined;
    for (const [header, value] of paramHeaderValues(target.item, envelope)) {
      const sent = head.header(header);
      if (sent === undefined && value === undefined) continue;
      if (sent === undefined)
        return refuse(problems.headerMismatch(`${header} is missing; the body has a value for it`));
      const decoded = decodeHeaderValue(sent);
      if (decoded === undefined) return refuse(problems.headerMismatch(`${header} is not a value that can be decoded`));
      if (value === undefined)
        return refuse(problems.headerMismatch(`${header} is sent, but the body has no value for it`));
      if (!isSame(decoded, value)) return refuse(problems.headerMismatch(`${header} does not match the body`));
    }
    return undefined;
  },
};

/** An argument that has a header form. */
export interface ParamValue {
  readonly text: string;
  readonly isNumber: boolean;
}

/** Header name (lower case) → the argument; undefined where the arguments have none or null. */
export function paramHeaderValues(
  item: CatalogItem | undefined,
  envelope: Envelope,
): ReadonlyMap<string, ParamValue | undefined> {
  const params = item === undefined ? NONE : paramsOf(item);
  if (params.length === 0) return EMPTY;
  return new Map(params.map(({ header, path }) => [`mcp-param-${header.toLowerCase()}`, argumentAt(envelope, path)]));
}

const NONE: readonly ParamHeader[] = [];
const EMPTY: ReadonlyMap<string, ParamValue | undefined> = new Map();
const known = new WeakMap<CatalogItem, readonly ParamHeader[]>();

function paramsOf(item: CatalogItem): readonly ParamHeader[] {
  let params = known.get(item);
  if (params === undefined) {
    const read = paramHeaders(item.definition);
    params = 'params' in read ? read.params : NONE;
    known.set(item, params);
  }
  return params;
}

/** The primitive at the path; other values have no header form. */
function argumentAt({ bytes, arguments: given }: Envelope, path: readonly string[]): ParamValue | undefined {
  let at = given?.start;
  for (const [depth, wanted] of path.entries()) {
    if (at === undefined || bytes[at] !== 0x7b) return undefined;
    let found: number | undefined;
    let value: ParamValue | undefined;
    const isLast = depth === path.length - 1;
    walkObject(bytes, at, depth + 2, (key, start, end) => {
      if (key !== wanted) return;
      found = start;
      if (isLast) value = primitive(bytes, start, end);
    });
    if (isLast) return value;
    at = found;
  }
  return undefined;
}

function primitive(bytes: Buffer, start: number, end: number): ParamValue | undefined {
  const first = bytes[start];
  if (first === 0x22) return { text: stringAt(bytes, start, end), isNumber: false };
  // null, objects and arrays are not mirrored.
  if (first === 0x6e || first === 0x7b || first === 0x5b) return undefined;
  return { text: bytes.toString('latin1', start, end), isNumber: first !== 0x74 && first !== 0x66 };
}

/** Numbers are compared as numbers, 42.0 is 42, as far as a number tells integers apart. */
function isSame(sent: string, { text, isNumber }: ParamValue): boolean {
  if (sent === text) return true;
  return isNumber && NUMBER.test(sent) && Number(sent) === Number(text) && Number.isSafeInteger(Number(text));
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
