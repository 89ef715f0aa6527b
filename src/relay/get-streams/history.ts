/** What was sent on one stream last, so that a client whose connection broke can have what it missed. */

const MAX_EVENTS = 256;
const MAX_BYTES = 1 << 20;

export class History {
  private readonly events: { readonly seq: number; readonly bytes: Buffer }[] = [];
  private size = 0;

  add(seq: number, bytes: Buffer): void {
    this.events.push({ seq, bytes });
    this.size += bytes.length;
    while (this.events.length > MAX_EVENTS || (this.size > MAX_BYTES && this.events.length > 1)) {
      this.size -= this.events.shift()?.bytes.length ?? 0;
    }
  }

  /** What came after that number, as far as it is kept. */
  after(seq: number): readonly Buffer[] {
    return this.events.filter((event) => event.seq > seq).map(({ bytes }) => bytes);
  }
}
