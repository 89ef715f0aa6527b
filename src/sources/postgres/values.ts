/**
 * Values as Postgres prints them, as JSON: numbers with every digit, JSON parsed, arrays of the usual types as arrays,
 * bytea as base64. All else (dates and times in ISO form, uuid, intervals, ranges, composites) stays Postgres's text.
 */
import { exactNumber, type Json, parseJson } from '../../mcp/exact-json.ts';
import { readArray } from './arrays.ts';

type Reader = (text: string) => Json;

const asText: Reader = (text) => text;
/** `NaN` and the infinities are no JSON. */
const asNumber: Reader = (text) => (/^-?[0-9]/.test(text) ? exactNumber(text) : text);
/** A double, or less, is its shortest text. */
const asDouble: Reader = (text) => (/^-?[0-9]/.test(text) ? Number(text) : text);
const asBoolean: Reader = (text) => text === 't';
const asJson: Reader = (text) => parseJson(text);
const asBase64: Reader = (text) =>
  text.startsWith('\\x') ? Buffer.from(text.slice(2), 'hex').toString('base64') : text;

/** By type and by type of array, as pg_type.dat numbers them. */
const TYPES: readonly [oid: number, arrayOid: number, read: Reader][] = [
  [16, 1000, asBoolean],
  [17, 1001, asBase64],
  [20, 1016, asNumber],
  [21, 1005, asDouble],
  [23, 1007, asDouble],
  [26, 1028, asDouble],
  [114, 199, asJson],
  [700, 1021, asDouble],
  [701, 1022, asDouble],
  [1700, 1231, asNumber],
  [3802, 3807, asJson],
  // name, text, bpchar, varchar, date, time, timestamp, timestamptz, timetz, interval, uuid, inet, cidr
  [19, 1003, asText],
  [25, 1009, asText],
  [1042, 1014, asText],
  [1043, 1015, asText],
  [1082, 1182, asText],
  [1083, 1183, asText],
  [1114, 1115, asText],
  [1184, 1185, asText],
  [1266, 1270, asText],
  [1186, 1187, asText],
  [2950, 2951, asText],
  [869, 1041, asText],
  [650, 651, asText],
];

const READERS: ReadonlyMap<number, Reader> = new Map(
  TYPES.flatMap(([oid, arrayOid, read]): [number, Reader][] => [
    [oid, read],
    [arrayOid, (text) => readArray(text, read)],
  ]),
);

/** Throws SyntaxError where the text is none of its type. */
export const readerOf = (oid: number): Reader => READERS.get(oid) ?? asText;
