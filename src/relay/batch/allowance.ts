/** How many bytes may be held for one client at one time, in whatever place they wait. */
import type { Readable } from 'node:stream';

/** The body alone is more than a body may be. */
export class TooLarge extends Error {}
/** There is no room for it now. */
export class TooMuch extends Error {}

export class Allowance {
  private left: number;

  constructor(bytes: number) {
    this.left = bytes;
  }

  /** false: there is no room for them now. */
  take(bytes: number): boolean {
    if (bytes > this.left) return false;
    this.left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.left += bytes;
  }

  /**
   * The whole of a body, whose bytes stay taken until they are given back. Throws TooLarge above `maxBytes`, TooMuch
   * where there is no room; nothing is taken then, and the body is left as it is, since its sender is still to be answered.
   */
  async read(body: Readable, maxBytes: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    let isComplete = false;
    try {
      for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (size + chunk.length > maxBytes) throw new TooLarge(`larger than ${maxBytes} bytes`);
        if (!this.take(chunk.length)) throw new TooMuch('too much is waiting already');
        size += chunk.length;
        chunks.push(chunk);
      }
      isComplete = true;
    } finally {
      if (!isComplete) this.give(size);
    }
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }
}
