/** What has become of a value that an upstream wrote, so that its bytes can be kept wherever they still hold. */

export type Change = Inside | Wrapped | Fresh;

/** The object or array is still there; something in it is not as it was. */
export interface Inside {
  readonly kind: 'inside';
  /** Of what it had: by key or index. */
  readonly children: Map<string | number, Change>;
  /** Keys that it did not have. */
  readonly added: Set<string>;
  /** Items that the array had, where others have been appended. */
  hadItems: number | undefined;
}

/** The value is the first member of a new object or array now. */
export interface Wrapped {
  readonly kind: 'wrapped';
  readonly key: 'response' | 0;
  inner: Change | undefined;
}

/** Nothing of the upstream's is left. */
export interface Fresh {
  readonly kind: 'fresh';
}

export const FRESH: Fresh = { kind: 'fresh' };

export const inside = (): Inside => ({ kind: 'inside', children: new Map(), added: new Set(), hadItems: undefined });

/** The record for what is at `key`, made now if there is none; undefined where that is not the upstream's. */
export function childOf(change: Change | undefined, key: string | number): Change | undefined {
  switch (change?.kind) {
    case 'wrapped':
      if (key !== change.key) return undefined;
      change.inner ??= inside();
      return change.inner;
    case 'inside': {
      if (isOurs(change, key)) return undefined;
      let child = change.children.get(key);
      if (child === undefined) {
        child = inside();
        change.children.set(key, child);
      }
      return child;
    }
    default:
      return undefined;
  }
}

/** Notes what has become of what stood at `key`, or that nothing did. */
export function setChild(change: Change | undefined, key: string | number, isNew: boolean, value: Change): void {
  if (change?.kind === 'wrapped') {
    if (key === change.key) change.inner = value;
  } else if (change?.kind === 'inside') {
    if (isNew) change.added.add(key as string);
    else if (!isOurs(change, key)) change.children.set(key, value);
  }
}

const isOurs = ({ added, hadItems }: Inside, key: string | number): boolean =>
  typeof key === 'string' ? added.has(key) : hadItems !== undefined && key >= hadItems;
