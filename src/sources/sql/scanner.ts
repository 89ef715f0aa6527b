/** SQL templates: one statement that only reads, with `:name` where a value goes. */
import { faultAt, type SqlFault } from './fault.ts';
import { assertReadOnly, isSymbol } from './read-only.ts';
import { type Dialect, LexicalFault, type Token, tokenize } from './tokens.ts';
import { findPlaceholders, type Placeholder } from './values.ts';

export type { SqlFault } from './fault.ts';
export type { Dialect } from './tokens.ts';
export type { Placeholder } from './values.ts';

/** Longer statements are refused, bytes. */
const MAX_TEMPLATE_BYTES = 64 * 1024;

export interface ScannedStatement {
  /** Without what follows the statement: `;`, space, comments. */
  readonly text: string;
  /** In the order of the text; spans are UTF-16 offsets into it. */
  readonly placeholders: readonly Placeholder[];
}

export function scanStatement(
  text: string,
  dialect: Dialect,
): ScannedStatement | { readonly faults: readonly SqlFault[] } {
  try {
    assertText(text);
    const tokens = withoutEnd(tokenize(text, dialect));
    assertReadOnly(tokens, dialect);
    const placeholders = findPlaceholders(text, tokens, dialect);
    return { text: text.slice(0, tokens.at(-1)?.end ?? 0), placeholders };
  } catch (error) {
    if (error instanceof LexicalFault) return { faults: [faultAt(text, error.offset, error.message)] };
    throw error;
  }
}

function assertText(text: string): void {
  if (Buffer.byteLength(text) > MAX_TEMPLATE_BYTES)
    throw new LexicalFault(0, `a statement of at most ${MAX_TEMPLATE_BYTES / 1024} KiB can be kept: shorten it`);
  const unfit = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.exec(text);
  if (unfit !== null)
    throw new LexicalFault(unfit.index, 'a character that is none (NUL or half of a pair): remove it');
}

/** Semicolons at the end say nothing. */
function withoutEnd(tokens: readonly Token[]): readonly Token[] {
  let end = tokens.length;
  while (isSymbol(tokens[end - 1], ';')) end--;
  return tokens.slice(0, end);
}
