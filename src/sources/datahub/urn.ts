/** Names of DataHub. One that is no URN makes DataHub refuse everything that is asked with it, so it is not sent. */

/** Bytes; the column that holds it has no more room. */
const MAX_URN = 512;
const URN = /^urn:li:[A-Za-z][A-Za-z0-9]*:[^\s\p{Cc}](?:[^\p{Cc}]*[^\s\p{Cc}])?$/u;

export function isUrn(text: string): boolean {
  return URN.test(text) && Buffer.byteLength(text) <= MAX_URN && isBalanced(text);
}

/** Parts of a key stand in parentheses; those within a part are escaped. */
function isBalanced(text: string): boolean {
  let depth = 0;
  for (const letter of text) {
    if (letter === '(') depth++;
    else if (letter === ')' && --depth < 0) return false;
  }
  return depth === 0;
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
