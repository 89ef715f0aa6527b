import type { Problem } from '../config/problems.ts';

/** A request of the admin API that is refused; becomes problem details (RFC 9457). Thrown inside a transaction it undoes it. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: 400 | 401 | 404 | 405 | 409 | 412 | 413 | 415 | 422 | 500 | 502 | 503;
  readonly title: string;
  /** Where in the request the fault is, when it is in a place. */
  readonly problems: readonly Problem[];

  constructor(status: Refusal['status'], title: string, detail: string, problems: readonly Problem[] = []) {
    super(detail);
    this.status = status;
    this.title = title;
    this.problems = problems;
  }
}

export const notFound = (kind: string, name: string): Refusal =>
  new Refusal(404, 'Not found', `There is no ${kind} named "${name}".`);

/** A body or a query that does not say what it should. */
export const invalid = (problems: readonly Problem[]): Refusal =>
  new Refusal(
    400,
    'Invalid request',
    problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; '),
    problems,
  );

export const ownedByFile = (kind: string, name: string): Refusal =>
  new Refusal(
    409,
    'Owned by a configuration file',
    `The ${kind} "${name}" comes from the configuration file the gateway was started with. Change it there; it is applied again at the next start, or when the file changes.`,
  );

export const exists = (kind: string, name: string): Refusal =>
  new Refusal(409, 'Already exists', `There is a ${kind} named "${name}" already. PUT replaces it.`);

export const changedMeanwhile = (kind: string, name: string, version: number): Refusal =>
  new Refusal(
    412,
    'Changed meanwhile',
    `The ${kind} "${name}" is at version ${version} now. Read it again and repeat the change.`,
  );
