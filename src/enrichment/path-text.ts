/**
 * Reads the text of a JSONPath: names, indices, `*`, `..`, slices and lists of names or indices. What could run code or
 * leave the tree downwards (filters, scripts, `^`, `~`, type selectors) is refused here, with its column.
 */

/** One level of a path; a slice stays as it was written. */
export type Step = Key | Keys | '*' | '..' | { readonly slice: string };
export interface Key {
  readonly key: string | number;
}
/** Any of these. */
export interface Keys {
  readonly keys: readonly (string | number)[];
}

const LONGEST = 1_000;
/** What a name after a dot may hold; others are written `['so']`. */
const NAME = /[\p{L}\p{N}_$-]+/uy;
const INDEX = /(?:0|[1-9][0-9]{0,9})(?![0-9:])/y;
const SLICE = /(-?[0-9]{0,10}):(-?[0-9]{0,10})(?::([0-9]{0,10}))?/y;
const SPACE = / */y;

class Offence extends Error {}

/** Steps from the root, or what is wrong: `column 12: …`, counted from 1 in UTF-16 units. */
export function readPath(text: string): readonly Step[] | { readonly fault: string } {
  if (text.length > LONGEST) return { fault: `a path has at most ${LONGEST} characters; this one has ${text.length}` };
  if (text[0] !== '$') return { fault: 'column 1: a path begins with `$`: `$.response.id`' };
  const reader = new Reader(text);
  try {
    return reader.steps();
  } catch (error) {
    if (error instanceof Offence) return { fault: `column ${reader.at + 1}: ${error.message}` };
    throw error;
  }
}

class Reader {
  at = 1;
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }

  steps(): Step[] {
    const steps: Step[] = [];
    while (this.at < this.#text.length) {
      if (this.#take('..')) {
        steps.push('..', this.#text[this.at] === '[' ? this.#bracket() : this.#name());
      } else if (this.#take('.')) {
        if (this.#text[this.at] === '[') throw new Offence('leave out the dot before `[`');
        steps.push(this.#name());
      } else if (this.#text[this.at] === '[') steps.push(this.#bracket());
      else throw new Offence(offence(this.#text, this.at) ?? 'expected `.name`, `[index]` or the end of the path');
    }
    return steps;
  }

  #name(): Step {
    if (this.#take('*')) return '*';
    const name = this.#match(NAME)?.[0];
    if (name !== undefined) return { key: name };
    if (this.at >= this.#text.length) throw new Offence('the path ends in a dot; a name is missing');
    throw new Offence(
      offence(this.#text, this.at) ?? "expected a name; names with other characters are written `['a name']`",
    );
  }

  #bracket(): Step {
    const opened = this.at;
    this.at += 1;
    this.#match(SPACE);
    const items = [this.#item()];
    this.#match(SPACE);
    while (this.#take(',')) {
      this.#match(SPACE);
      items.push(this.#item());
      this.#match(SPACE);
    }
    if (this.at >= this.#text.length) {
      this.at = opened;
      throw new Offence('this `[` is not closed by `]`');
    }
    if (!this.#take(']')) throw new Offence(offence(this.#text, this.at) ?? 'expected `]` or `,`');
    const [first] = items;
    if (items.length === 1 && first !== undefined) return first;
    const keys = items.map((item) => {
      if (typeof item === 'object' && 'key' in item) return item.key;
      this.at = opened;
      throw new Offence('a list in brackets holds names or indices alone');
    });
    return { keys: [...new Set(keys)] };
  }

  #item(): Step {
    const character = this.#text[this.at];
    if (character === "'" || character === '"') return { key: this.#quoted(character) };
    if (this.#take('*')) return '*';
    const index = this.#match(INDEX)?.[0];
    if (index !== undefined) return { key: Number(index) };
    const start = this.at;
    const slice = this.#match(SLICE);
    if (slice !== undefined) {
      if (Number(slice[2] || 1) !== 0 && Number(slice[3] || 1) !== 0) return { slice: slice[0] };
      this.at = start;
      throw new Offence('a slice `[from:to:step]` that ends at 0 or has step 0 finds nothing; write another');
    }
    if (/^-[0-9]/.test(this.#text.slice(this.at))) {
      throw new Offence('an index counts from 0; the last element is `[-1:]`');
    }
    const name = this.#match(NAME)?.[0];
    if (name !== undefined) return { key: name };
    throw new Offence(
      offence(this.#text, this.at) ??
        "expected a name in quotes, an index, `*` or a slice: `['a name']`, `[0]`, `[1:3]`",
    );
  }

  #quoted(quote: string): string {
    const opened = this.at;
    let name = '';
    for (this.at += 1; this.at < this.#text.length; this.at += 1) {
      const character = this.#text[this.at];
      if (character === quote) {
        this.at += 1;
        return name;
      }
      if (character === '\\') {
        this.at += 1;
        const escaped = this.#text[this.at];
        if (escaped !== '\\' && escaped !== quote) {
          throw new Offence('after a backslash in a quoted name comes the quote or another backslash');
        }
        name += escaped;
      } else name += character;
    }
    this.at = opened;
    throw new Offence('this quote is not closed');
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.at += match[0].length;
    return match;
  }
}

/** Why something that JSONPath has elsewhere is not had here. */
function offence(text: string, at: number): string | undefined {
  switch (text[at]) {
    case '?':
    case '(':
      return 'filters and scripts (`?( )`, `( )`) are not available; write the condition as `when`';
    case '^':
      return 'the parent `^` is not available; write the path down from `$`';
    case '~':
      return 'names of properties (`~`) are not available; write the path of a value';
    case '@':
      return "type selectors (`@string()`) are not available; a name that begins with `@` is written `['@name']`";
    case '`':
      return "a backquote is not available; an unusual name is written `['so']`";
    case ']':
    case ')':
      return `nothing is open that this \`${text[at]}\` could close`;
    default:
      return undefined;
  }
}
