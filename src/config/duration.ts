/** Durations and sizes as people write them. */

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

/** What `parseDuration` accepts, for JSON Schema. */
export const DURATION_PATTERN = /^(0|[1-9][0-9]{0,11})(ms|s|m|h|d)$/;

/** Milliseconds of `800ms`, `30s`, `2m`, `1h`, `90d`; `undefined` when the text is something else. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  const unit = UNITS.find(([name]) => name === match?.[2])?.[1];
  return match && unit ? Number(match[1]) * unit : undefined;
}

/** The shortest writing of a whole number of milliseconds: the largest unit that divides it. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  for (const [name, unit] of UNITS) if (ms % unit === 0) return `${ms / unit}${name}`;
  throw new RangeError(`Not a whole number of milliseconds: ${ms}`);
}

/** What `parseSize` accepts besides a plain number, for JSON Schema. */
export const SIZE_PATTERN = /^([0-9]{1,12})(KiB|MiB|GiB)?$/;

/** Bytes of `4194304`, `64KiB`, `4MiB`; `undefined` when the text is something else. */
export function parseSize(text: string): number | undefined {
  const match = SIZE_PATTERN.exec(text);
  if (!match) return undefined;
  const power = ['KiB', 'MiB', 'GiB'].indexOf(match[2] ?? '') + 1;
  return Number(match[1]) * 1024 ** power;
}
