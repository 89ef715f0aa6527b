/** What one call tells its session. It counts as told when the result goes out, and not where a rule found no place for it. */
import type { Told } from './world.ts';

export class Tellings {
  private readonly told: Told;
  private readonly sessionId: string;
  /** Said by this call, in the same result. */
  private readonly said = new Set<string>();

  constructor(told: Told, sessionId: string) {
    this.told = told;
    this.sessionId = sessionId;
  }

  /** The context's name, and whether whoever reads this result has had it. */
  look(text: string): { readonly name: string; readonly again: boolean } {
    const { name, again } = this.told.look(this.sessionId, text);
    return { name, again: again || this.said.has(text) };
  }

  say(text: string): void {
    this.said.add(text);
  }

  /** The result goes out. */
  end(): void {
    for (const text of this.said) this.told.tell(this.sessionId, text);
  }
}

/** undefined: nobody remembers. */
export function tellingsOf(told: Told | undefined, sessionId: string | undefined): Tellings | undefined {
  return told === undefined || sessionId === undefined ? undefined : new Tellings(told, sessionId);
}
