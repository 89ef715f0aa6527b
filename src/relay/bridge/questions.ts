/** What this relay has asked legacy clients in an upstream's place, until they answer. */
import { randomUUID } from 'node:crypto';
import type { Session } from '../../exchange/exchange.ts';
import { ownerOf, Shares } from '../limits.ts';

/** The bytes of a JSON-RPC result or error object. */
export interface ClientAnswer {
  readonly kind: 'result' | 'error';
  readonly bytes: Buffer;
}

export interface Question {
  /** Unguessable; part of the id under which the client gets the request. */
  readonly id: string;
  /** Never settles if the question is taken back. */
  readonly answer: Promise<ClientAnswer>;
}

/** Open questions to the clients of one principal. */
const MAX_OF_ONE = 500;

type Asked = Pick<Session, 'id' | 'tenant' | 'binding'>;

export class Questions {
  private readonly open = new Map<string, { readonly session: Asked; resolve(answer: ClientAnswer): void }>();
  private readonly shares: Shares;

  constructor(maxOfOne = MAX_OF_ONE) {
    this.shares = new Shares(maxOfOne);
  }

  get size(): number {
    return this.open.size;
  }

  /** undefined: too much is asked of that principal's clients. */
  ask(session: Asked): Question | undefined {
    if (!this.shares.take(ownerOf(session))) return undefined;
    const id = randomUUID();
    const answer = new Promise<ClientAnswer>((resolve) => this.open.set(id, { session, resolve }));
    return { id, answer };
  }

  /** false: no such question, not of that session, or answered already. */
  answer(id: string, sessionId: string, answer: ClientAnswer): boolean {
    const question = this.open.get(id);
    if (question?.session.id !== sessionId) return false;
    this.withdraw(id);
    question.resolve(answer);
    return true;
  }

  /** Takes a question back; false when it has been answered. */
  withdraw(id: string): boolean {
    const question = this.open.get(id);
    if (question === undefined) return false;
    this.shares.give(ownerOf(question.session));
    return this.open.delete(id);
  }
}
