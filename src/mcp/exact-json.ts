/** JSON values whose numbers keep every digit: what a double cannot hold stays as it was written. */

export type Json = null | boolean | number | string | ExactNumber | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** A number that a double would change: `9007199254740993`, `0.1000`, `1e400`. */
export class ExactNumber {
  readonly #text: string;
  /** `text`: a JSON number. */
  constructor(text: string) {
    this.#text = text;
  }
  get text(): string {
    return this.#text;
  }
  /** For whoever stringifies without knowing: the digits, as a string. */
  toJSON(): string {
    return this.#text;
  }
}

/** Throws SyntaxError, as JSON.parse does. */
export function parseJson(text: string): Json {
  return JSON.parse(text) as Json;
}

export function jsonText(value: Json): string {
  return JSON.stringify(value);
}
