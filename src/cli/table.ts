/** Text for terminals: aligned columns, and one thing's members. No colours, no frames: it is often piped. */

/** Rows under headings, aligned; the last column may be as long as it likes. */
export function table(headings: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [headings, ...rows.map((row) => row.map(cellText))];
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => (column === headings.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A member a line, nested ones by their path. */
export function members(value: object): string {
  const lines = flatten(value, '');
  const width = Math.max(0, ...lines.map(([path]) => path.length));
  return lines.map(([path, text]) => `${path.padEnd(width)}  ${text}`.trimEnd()).join('\n');
}

function flatten(value: object, prefix: string): [string, string][] {
  return Object.entries(value).flatMap(([key, inner]): [string, string][] => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner) && Object.keys(inner).length > 0) {
      return flatten(inner, path);
    }
    return [[path, cellText(inner)]];
  });
}

/** One cell: lists by commas, nothing as `-`, never a line break. */
export function cellText(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cellText).join(', ');
  if (typeof value === 'object') return Object.keys(value).length === 0 ? '-' : JSON.stringify(value);
  return withoutControls(String(value));
}

/** What upstreams send must not steer the terminal. */
export function withoutControls(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}

/** Keeps line breaks and tabs; nothing else steers the terminal. */
export const readable = (text: string): string => text.replaceAll(/[^\P{Cc}\n\t]/gu, '');

/** Text of at most so many characters. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
