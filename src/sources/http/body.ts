/**
 * A JSON body with values in it. `":id"`: the value takes the string's place, every digit of a number in it.
 * `[":ids"]`: an element that may be several. `"::id"` is the string `:id`.
 */
import { ExactNumber, type Json, jsonText } from '../../mcp/exact-json.ts';
import { type Bound, ValueError } from '../source.ts';
import { isScalar } from './scalar.ts';

type Values = ReadonlyMap<string, Bound>;

export interface BodyTemplate {
  /** Names in the order of their first use. */
  readonly names: ReadonlyMap<string, 'one' | 'list'>;
  /** JSON text. Throws ValueError. */
  render(values: Values): string;
}

export function readBody(body: unknown): BodyTemplate | { readonly fault: string } {
  const names = new Map<string, 'one' | 'list'>();
  try {
    const node = compile(body, '', names, false);
    return { names, render: (values) => (typeof node === 'string' ? node : node(values)) };
  } catch (error) {
    if (error instanceof BodyFault) return { fault: error.message };
    throw error;
  }
}

class BodyFault extends Error {}

/** JSON text that never changes, or what writes it; a list of no values writes nothing. */
type Node = string | ((values: Values) => string);

function compile(value: unknown, at: string, names: Map<string, 'one' | 'list'>, isElement: boolean): Node {
  if (typeof value === 'string') return compileString(value, at, names, isElement);
  if (Array.isArray(value)) {
    const items = value.map((item, index) => compile(item, `${at}[${index}]`, names, true));
    return joined('[', items, ']');
  }
  if (typeof value === 'object' && value !== null && !(value instanceof ExactNumber)) {
    const members = Object.entries(value).map(([key, item]): Node => {
      const name = `${JSON.stringify(key)}:`;
      const node = compile(item, at === '' ? key : `${at}.${key}`, names, false);
      return typeof node === 'string' ? name + node : (values) => name + node(values);
    });
    return joined('{', members, '}');
  }
  return jsonText(value as Json);
}

function joined(open: string, nodes: readonly Node[], close: string): Node {
  const write = (values: Values): string => {
    const texts = nodes.map((node) => (typeof node === 'string' ? node : node(values)));
    return open + texts.filter((text) => text !== '').join(',') + close;
  };
  return nodes.every((node) => typeof node === 'string') ? write(new Map()) : write;
}

function compileString(text: string, at: string, names: Map<string, 'one' | 'list'>, isElement: boolean): Node {
  if (!text.startsWith(':')) return JSON.stringify(text);
  if (text.startsWith('::')) return JSON.stringify(text.slice(1));
  const name = text.slice(1);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    const where = at === '' ? '' : ` at ${at}`;
    throw new BodyFault(
      `${JSON.stringify(text)}${where}: a value is the whole string, as in ":id"; a literal colon is written ::`,
    );
  }
  // Where it also stands for one value, it is one everywhere.
  names.set(name, isElement && names.get(name) !== 'one' ? 'list' : 'one');
  return isElement ? (values) => elements(name, values.get(name)) : (values) => whole(name, values.get(name));
}

function whole(name: string, value: Bound | undefined): string {
  return Array.isArray(value) ? `[${elements(name, value)}]` : scalar(name, value as Json | undefined);
}

function elements(name: string, value: Bound | undefined): string {
  return Array.isArray(value)
    ? value.map((one) => scalar(name, one)).join(',')
    : scalar(name, value as Json | undefined);
}

/** Objects would let a value say more than a value: to many a server `{"$ne": null}` is an operator. */
function scalar(name: string, value: Json | undefined): string {
  if (value === undefined) throw new ValueError(`:${name} has no value`);
  if (value === null) return 'null';
  if (!isScalar(value)) throw new ValueError(`:${name} takes strings, numbers and booleans, not an array or an object`);
  return jsonText(value);
}
