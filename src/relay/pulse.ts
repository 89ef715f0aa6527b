/** Keep-alives for thousands of streams from one timer: each stream's turn comes every 15 to 25 s, no two are in step. */

const SLOTS = 32;
const FIRST_S = 15;
const SPREAD_S = 11;

export interface Beating {
  beat(): void;
}

export class Pulse {
  private readonly slots: Set<Beating>[] = Array.from({ length: SLOTS }, () => new Set());
  private readonly slotOf = new Map<Beating, number>();
  private now = 0;
  private readonly timer = setInterval(() => this.tick(), 1000);

  constructor() {
    this.timer.unref();
  }

  get size(): number {
    return this.slotOf.size;
  }

  add(one: Beating): void {
    const slot = (this.now + FIRST_S + Math.floor(Math.random() * SPREAD_S)) % SLOTS;
    this.slotOf.set(one, slot);
    this.slots[slot]?.add(one);
  }

  remove(one: Beating): void {
    const slot = this.slotOf.get(one);
    if (slot !== undefined) this.slots[slot]?.delete(one);
    this.slotOf.delete(one);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private tick(): void {
    this.now = (this.now + 1) % SLOTS;
    const due = [...(this.slots[this.now] ?? [])];
    this.slots[this.now]?.clear();
    for (const one of due) {
      this.add(one);
      one.beat();
    }
  }
}
