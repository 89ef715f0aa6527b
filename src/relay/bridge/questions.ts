/** What this relay has asked legacy clients in an upstream's place, until they answer. */
import { randomUUID } from 'node:crypto';

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

export class Questions {
  private readonly open = new Map<string, { readonly sessionId: string; resolve(answer: ClientAnswer): void }>();

  get size(): number {
    return this.open.size;
  }

  ask(sessionId: string): Question {
    const id = randomUUID();
    const answer = new Promise<ClientAnswer>((resolve) => this.open.set(id, { sessionId, resolve }));
    return { id, answer };
  }

  /** false: no such question, not of that session, or answered already. */
  answer(id: string, sessionId: string, answer: ClientAnswer): boolean {
    const question = this.open.get(id);
    if (question === undefined || question.sessionId !== sessionId) return false;
    this.open.delete(id);
    question.resolve(answer);
    return true;
  }

  /** Takes a question back; false when it has been answered. */
  withdraw(id: string): boolean {
    return this.open.delete(id);
  }
}
