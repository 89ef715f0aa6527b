/** Readers of option values that several commands share; what they refuse is a usage error. */
import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { CommandFailed } from './failure.ts';

/** For an option that may be there several times, each with one or more values between commas. */
export function listed(value: string, before: readonly string[] = []): string[] {
  const values = value.split(',').map((one) => one.trim());
  return [...before, ...values.filter((one) => one !== '')];
}

/** For an option that may be there several times. */
export const repeated = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** A whole number between two bounds. */
export function wholeNumber(minimum: number, maximum: number) {
  return (value: string): number => {
    const number = Number(value);
    if (Number.isInteger(number) && number >= minimum && number <= maximum && value.trim() !== '') return number;
    throw new InvalidArgumentError(`It must be a whole number from ${minimum} to ${maximum}.`);
  };
}

/** A TCP port; 0 picks a free one. */
export const port = wholeNumber(0, 65_535);

/** The URL of the admin API. */
export function serverUrl(value: string): string {
  if (/^https?:\/\//.test(value) && URL.canParse(value)) return value.replace(/\/+$/, '');
  throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8081.');
}

/** `name=value` or `name: value`. */
export function pair(text: string): [name: string, value: string] {
  const match = /^([^=:\s]+)\s*[=:]\s*(.*)$/s.exec(text);
  if (match?.[1] !== undefined && match[2] !== undefined) return [match[1], match[2]];
  throw new InvalidArgumentError(`It must be NAME=VALUE.`);
}

/** The text of a JSON object, which is kept as it is: parsing would round integers beyond 2^53. */
export function jsonObject(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`It must be a JSON object: ${(error as Error).message}.`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return text;
  throw new InvalidArgumentError('It must be a JSON object such as {"a":1}.');
}

/** A secret whose value is in the environment of this process, as the admin API takes it. */
export function fromEnvironment(name: string): { readonly value: string; readonly ref: { readonly env: string } } {
  const value = process.env[name];
  if (!value) throw new CommandFailed(`The environment variable ${name} is not set.`);
  return { value, ref: { env: name } };
}

/** What a file says; `-` is standard input. */
export function fileText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CommandFailed(`Cannot read ${file}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}.`);
  }
}
