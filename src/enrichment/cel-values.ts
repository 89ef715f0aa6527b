/**
 * JSON as CEL sees it, converted when it is looked at: integers are `int`, other numbers `double`, objects are Maps, so
 * that no name of JavaScript's (`constructor`) is ever a key. Looking is what costs, so it is counted here.
 */
import { ExactNumber, type Json, type JsonObject } from '../mcp/exact-json.ts';

/** One evaluation may do this much: about 10 ms. A value looked at is 1, and one more for each 16 characters of a text. */
export const MOST_WORK = 50_000;
const CHARACTERS = 16;

/** `&&`, `||` and quantifiers go on after errors, so it is thrown at each further step. */
export const TOO_MUCH = new Error('too much work');

export class Work {
  #left = MOST_WORK;
  /** What a step costs now: more within a macro over long texts, as each step may go through the text. */
  weight = 1;

  spend(amount: number): void {
    this.#left -= amount;
    if (this.#left < 0) throw TOO_MUCH;
  }

  get isSpent(): boolean {
    return this.#left < 0;
  }
}

export type CelValue = null | boolean | bigint | number | string | readonly CelValue[] | CelObject;

const INT_MAX = 2n ** 63n - 1n;
const INT_MIN = -(2n ** 63n);
const INTEGER = /^-?[0-9]{1,19}$/;

export function toCel(value: Json, work: Work): CelValue {
  work.spend(1);
  if (typeof value === 'string') {
    work.spend(Math.floor(value.length / CHARACTERS));
    return value;
  }
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof ExactNumber) return fromDigits(value.text);
  if (Array.isArray(value)) return value.map((element) => toCel(element, work));
  return new CelObject(value as JsonObject, work);
}

/** Beyond 64 bits there is no `int`. */
function fromDigits(text: string): bigint | number {
  if (INTEGER.test(text)) {
    const integer = BigInt(text);
    if (integer >= INT_MIN && integer <= INT_MAX) return integer;
  }
  return Number(text);
}

/** Long texts weigh on every step that has them at hand. */
export function weightOf(value: unknown): number {
  return typeof value === 'string' ? 1 + Math.floor(value.length / CHARACTERS) : 1;
}

/** A Map to CEL, which knows Maps by their constructor. */
export class CelObject extends Map<string, CelValue> {
  readonly #source: JsonObject;
  readonly #work: Work;

  static {
    Object.defineProperty(CelObject.prototype, 'constructor', { value: Map });
  }

  constructor(source: JsonObject, work: Work) {
    super();
    this.#source = source;
    this.#work = work;
  }

  override has(key: string): boolean {
    return typeof key === 'string' && Object.hasOwn(this.#source, key);
  }

  override get(key: string): CelValue | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#source[key];
    return value === undefined ? undefined : toCel(value, this.#work);
  }

  override get size(): number {
    return this.#names().length;
  }

  override keys(): MapIterator<string> {
    return this.#names().values() as MapIterator<string>;
  }

  override *entries(): MapIterator<[string, CelValue]> {
    for (const key of this.#names()) yield [key, this.get(key) ?? null];
  }

  override [Symbol.iterator](): MapIterator<[string, CelValue]> {
    return this.entries();
  }

  #names(): string[] {
    const names = Object.keys(this.#source);
    // Listing the keys of a large object takes longer than looking at as many elements.
    this.#work.spend(2 * names.length);
    return names;
  }
}
