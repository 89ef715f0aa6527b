/**
 * Whether a URI could have come from a URI template (RFC 6570, every operator): asked to find whose a URI is, so it says
 * yes only where the text fits, and its work is bounded however hostile template and URI are. No regular expressions.
 */

/** A template as text that must be there, with variable text between. */
export interface UriTemplate {
  readonly literals: readonly string[];
  readonly gaps: readonly Gap[];
}

/** The text of one expression: what may not be in it, and with what it begins if it is not empty. */
interface Gap {
  readonly stops: string;
  readonly first: string;
}

/** Longer URIs are matched with no template, templates with more expressions match no URI. */
const MAX_URI_CHARS = 2048;
const MAX_EXPRESSIONS = 16;

const GAPS: Readonly<Record<string, Gap>> = {
  '': { stops: '/?#', first: '' },
  '+': { stops: '', first: '' },
  '#': { stops: '', first: '#' },
  '.': { stops: '/?#', first: '.' },
  '/': { stops: '?#', first: '/' },
  ';': { stops: '/?#', first: ';' },
  '?': { stops: '#', first: '?' },
  '&': { stops: '#', first: '&' },
};

/**
 * undefined: malformed, or too vague to say whose a URI is. A template tells something only if it begins with a scheme:
 * `{+uri}` would fit everything.
 */
export function readTemplate(text: string): UriTemplate | undefined {
  const literals: string[] = [];
  const gaps: Gap[] = [];
  let from = 0;
  for (let open = text.indexOf('{'); open >= 0; open = text.indexOf('{', from)) {
    const close = text.indexOf('}', open);
    const body = text.slice(open + 1, close);
    if (close < 0 || body === '' || body.includes('{') || gaps.length >= MAX_EXPRESSIONS) return undefined;
    literals.push(text.slice(from, open));
    gaps.push(GAPS[body.charAt(0)] ?? (GAPS[''] as Gap));
    from = close + 1;
  }
  const last = text.slice(from);
  if (last.includes('}')) return undefined;
  literals.push(last);
  return /^[a-z][a-z0-9+.-]*:/i.test(literals[0] as string) ? { literals, gaps } : undefined;
}

/** Follows every way to fit at once, position by position: linear in the URI for each expression. */
export function fitsTemplate(uri: string, { literals, gaps }: UriTemplate): boolean {
  if (!uri.startsWith(literals[0] as string)) return false;
  if (uri.length > MAX_URI_CHARS) return false;
  let ends = new Set([(literals[0] as string).length]);
  for (let i = 0; i < gaps.length && ends.size > 0; i++) {
    const literal = literals[i + 1] as string;
    const next = new Set<number>();
    for (const at of gapEnds(uri, ends, gaps[i] as Gap)) {
      if (uri.startsWith(literal, at)) next.add(at + literal.length);
    }
    ends = next;
  }
  return ends.has(uri.length);
}

/** Where an expression that begins at one of `starts` may end; it may be empty. */
function gapEnds(uri: string, starts: ReadonlySet<number>, { stops, first }: Gap): number[] {
  const ends: number[] = [];
  let isInside = false;
  for (let at = 0; at <= uri.length; at++) {
    const isStart = starts.has(at);
    if (isStart || isInside) ends.push(at);
    const char = uri.charAt(at);
    const isFree = !stops.includes(char);
    isInside = (isInside && isFree) || (isStart && (first === '' ? isFree : char === first));
  }
  return ends;
}
