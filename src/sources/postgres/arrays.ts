/** The text of an array, as array_out writes it: `{1,NULL,"a \"b\""}`, `{{1,2},{3,4}}`, `[0:1]={5,6}`. */

import type { Json } from '../../mcp/exact-json.ts';
import { MAX_DEPTH } from '../../mcp/json.ts';

/** Throws SyntaxError. */
export function readArray(text: string, read: (item: string) => Json): Json {
  // Bounds other than the usual: which index is the first is of no use in JSON.
  let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0;

  const fail = (): never => {
    throw new SyntaxError('malformed array');
  };
  const quoted = (): string => {
    let item = '';
    for (at++; text[at] !== '"'; at++) {
      if (text[at] === '\\') at++;
      item += text[at] ?? fail();
    }
    at++;
    return item;
  };
  const plain = (): Json => {
    const start = at;
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++;
    const item = text.slice(start, at);
    return item === 'NULL' ? null : read(item);
  };
  const array = (depth: number): Json => {
    if (text[at] !== '{' || depth > MAX_DEPTH) fail();
    at++;
    const items: Json[] = [];
    if (text[at] === '}') {
      at++;
      return items;
    }
    for (;;) {
      items.push(text[at] === '{' ? array(depth + 1) : text[at] === '"' ? read(quoted()) : plain());
      const separator = text[at++];
      if (separator === '}') return items;
      if (separator !== ',') fail();
    }
  };

  const value = array(1);
  return at === text.length ? value : fail();
}
