/** Names of DataHub. One that is no URN makes DataHub refuse everything that is asked with it, so it is not sent. */

/** Bytes; the column that holds it has no more room. */
const MAX_URN = 512;
const URN = /^urn:li:[A-Za-z][A-Za-z0-9]*:[^\s\p{Cc}](?:[^\p{Cc}]*[^\s\p{Cc}])?$/u;

/** Parts that a key has, of those kinds whose key is made of parts. */
const PARTS: Readonly<Record<string, number>> = {
  dataset: 3,
  dataFlow: 3,
  dataJob: 2,
  chart: 2,
  dashboard: 2,
  schemaField: 2,
  container: 1,
  tag: 1,
  glossaryTerm: 1,
};

export function isUrn(text: string): boolean {
  if (!URN.test(text) || Buffer.byteLength(text) > MAX_URN) return false;
  const [, , kind = ''] = text.split(':', 3);
  const parts = countParts(text.slice(`urn:li:${kind}:`.length));
  return parts > 0 && (!Object.hasOwn(PARTS, kind) || parts === PARTS[kind]);
}

/** Of `(a,(b,c),d)` three. Within a part, parentheses and commas are escaped. 0: they do not fit together. */
function countParts(key: string): number {
  if (!key.startsWith('(')) return /[()]/.test(key) ? 0 : 1;
  let depth = 0;
  let parts = 1;
  for (let i = 0; i < key.length; i++) {
    const letter = key[i];
    if (letter === '(') depth++;
    else if (letter === ')' && --depth === 0) return i === key.length - 1 ? parts : 0;
    else if (letter === ',' && depth === 1) parts++;
  }
  return 0;
}

export interface DatasetName {
  /** `trino`, or its URN. */
  readonly platform: string;
  /** With the platform instance in front where there is one. */
  readonly name: string;
  /** `PROD`. */
  readonly env: string;
}

/** `name` may hold anything; what has a meaning in a URN is escaped, as DataHub's own ingestion does it. */
export function datasetUrn({ platform, name, env }: DatasetName): string {
  return `urn:li:dataset:(${platformUrn(platform)},${name.replace(/[,()\u241f]/g, escaped)},${env})`;
}

export const platformUrn = (platform: string): string =>
  platform.startsWith('urn:li:dataPlatform:') ? platform : `urn:li:dataPlatform:${platform}`;

/** undefined: not the URN of a dataset. */
export function parseDatasetUrn(urn: string): DatasetName | undefined {
  const found = /^urn:li:dataset:\(urn:li:dataPlatform:([^,()]+),([^,()]+),([^,()]+)\)$/u.exec(urn);
  const [, platform, name, env] = found ?? [];
  if (platform === undefined || name === undefined || env === undefined || !isUrn(urn)) return undefined;
  return { platform, name: name.replace(/%(?:2C|28|29|E2%90%9F)/gi, decodeURIComponent), env };
}

// `encodeURIComponent` leaves parentheses as they are.
const escaped = (letter: string): string =>
  letter === '(' ? '%28' : letter === ')' ? '%29' : encodeURIComponent(letter);
