/**
 * A JSON Schema that lets additions through: along the path to where they go, every schema that judges the same place is
 * opened for them, and for nothing else. Where that cannot be told the schema of that place is given up.
 */

export type Schema = Record<string, unknown>;

/** Where to go from a value: into one of these members, or into all that it has. */
export type Way = readonly string[] | 'each';

export interface Route {
  /** To the elements that are added to. They are there already. */
  readonly elements: readonly Way[];
  /** From an element to what is added; objects on the way may be made. */
  readonly path: readonly string[];
  /** What stands at the end already always stays. */
  readonly isKept: boolean;
}

/** The schema as a whole cannot be opened for that. */
export class Hopeless extends Error {}

/** Keywords under which an addition may turn a match into none, or the other way round, in ways that cannot be followed. */
const OPAQUE = [
  'not',
  'if',
  'const',
  'enum',
  'dependentSchemas',
  'dependentRequired',
  'dependencies',
  '$dynamicRef',
  '$recursiveRef',
];
/** What counts or names members without saying which. */
const COUNTS = ['propertyNames', 'maxProperties'];
const ITEM_COUNTS = ['contains', 'minContains', 'maxContains', 'uniqueItems'];
const MAX_NESTING = 1000;
/** What a property that is opened still says. */
const ANNOTATIONS = ['title', 'description'];

/** Changes `root` in place. Throws Hopeless. */
export function relax(root: Schema, route: Route): void {
  new Relaxing(root, route).open(root, 0, false);
}

class Relaxing {
  private readonly root: Schema;
  private readonly route: Route;
  /** Levels at which a schema has been opened: schemas may refer to themselves. */
  private readonly seen = new Map<Schema, Set<string>>();
  /** How many schemas are being opened, each within the one before. */
  private nesting = 0;

  constructor(root: Schema, route: Route) {
    this.root = root;
    this.route = route;
  }

  /** `isMade`: the value may be an object that did not exist before. */
  open(schema: Schema, level: number, isMade: boolean): void {
    const seen = this.seen.get(schema) ?? new Set();
    this.seen.set(schema, seen);
    const visit = `${level} ${isMade}`;
    if (seen.has(visit)) return;
    seen.add(visit);
    // References may make a chain as long as the definition.
    if (++this.nesting > MAX_NESTING) throw new Hopeless();
    this.openNew(schema, level, isMade);
    this.nesting--;
  }

  private openNew(schema: Schema, level: number, isMade: boolean): void {
    if (OPAQUE.some((keyword) => keyword in schema) || (schema !== this.root && '$id' in schema)) {
      this.giveUp(schema);
      return;
    }
    for (const keyword of ['allOf', 'anyOf', 'oneOf']) this.openList(schema[keyword], level, isMade);
    // Alternatives that have been opened may match together.
    if (schema.oneOf !== undefined) {
      schema.allOf = [...list(schema.allOf), { anyOf: schema.oneOf }];
      delete schema.oneOf;
    }
    if (typeof schema.$ref === 'string') this.open(this.referred(schema.$ref), level, isMade);
    const { elements, path } = this.route;
    const way = elements[level];
    if (way === undefined) this.openMember(schema, level, path[level - elements.length] as string, isMade);
    else if (way === 'each') this.openEach(schema, level + 1);
    else for (const key of way) for (const at of judges(schema, key)) this.openAt(...at, level + 1, false);
  }

  private openEach(schema: Schema, level: number): void {
    for (const keyword of ITEM_COUNTS) delete schema[keyword];
    for (const keyword of [
      'items',
      'additionalItems',
      'unevaluatedItems',
      'additionalProperties',
      'unevaluatedProperties',
    ]) {
      this.openAt(schema, keyword, level, false);
    }
    for (const keyword of ['items', 'prefixItems']) this.openList(schema[keyword], level, false);
    for (const keyword of ['properties', 'patternProperties']) {
      const members = schema[keyword];
      if (isSchema(members)) for (const key of Object.keys(members)) this.openAt(members, key, level, false);
    }
  }

  /** The element, or an object between it and what is added. */
  private openMember(schema: Schema, level: number, key: string, isMade: boolean): void {
    if (!takesObjects(schema)) {
      if (isMade) this.giveUp(schema);
      return;
    }
    if (isMade) for (const keyword of ['required', 'minProperties']) delete schema[keyword];
    for (const keyword of COUNTS) delete schema[keyword];
    const isRequired = list(schema.required).includes(key);
    const isLeaf = level + 1 === this.route.elements.length + this.route.path.length;
    const declared = judges(schema, key).filter(([holder]) => holder !== schema);
    for (const [holder, name] of declared) {
      if (!isLeaf) this.openAt(holder, name, level + 1, !isRequired);
      else if (!isRequired || !this.route.isKept) holder[name] = annotations(holder[name]);
    }
    if (declared.some(([holder]) => holder === schema.properties)) return;
    if (!isSchema(schema.properties)) schema.properties = {};
    define(schema.properties as Schema, key, {});
  }

  private openAt(holder: Schema, key: string, level: number, isMade: boolean): void {
    const schema = holder[key];
    if (schema === false && isMade) holder[key] = {};
    if (!isSchema(schema) || Array.isArray(schema)) return;
    this.open(schema, level, isMade);
  }

  private openList(schemas: unknown, level: number, isMade: boolean): void {
    for (const schema of list(schemas)) if (isSchema(schema)) this.open(schema, level, isMade);
  }

  /** The same object, so that whoever refers to it finds it open. */
  private giveUp(schema: Schema): void {
    if (schema === this.root) throw new Hopeless();
    for (const keyword of Object.keys(schema))
      if (!ANNOTATIONS.includes(keyword) && !isStore(keyword)) delete schema[keyword];
  }

  private referred(ref: string): Schema {
    const target = resolve(this.root, ref);
    if (target === undefined) throw new Hopeless();
    return target;
  }
}

/** Other schemas may refer to what is kept there. */
const isStore = (keyword: string): boolean => keyword === '$defs' || keyword === 'definitions';

/** Schemas that judge the member: by holder and key there. */
function judges(schema: Schema, key: string): [holder: Schema, key: string][] {
  const found: [Schema, string][] = [];
  const { properties, patternProperties } = schema;
  if (isSchema(properties) && Object.hasOwn(properties, key)) found.push([properties, key]);
  if (isSchema(patternProperties)) {
    for (const pattern of Object.keys(patternProperties)) {
      if (mayMatch(pattern, key)) found.push([patternProperties, pattern]);
    }
  }
  if (found.length === 0) found.push([schema, 'additionalProperties']);
  found.push([schema, 'unevaluatedProperties']);
  return found;
}

function mayMatch(pattern: string, key: string): boolean {
  // A pattern of somebody else's: what could take long to try is taken for a match.
  if (pattern.length > 100 || /[*+{].*[*+{]|\\[1-9k]/.test(pattern)) return true;
  try {
    return new RegExp(pattern, 'u').test(key);
  } catch {
    return true;
  }
}

/** Whether an object may stand there, as far as `type` says. */
export const takesObjects = ({ type }: Schema): boolean => type === undefined || [type].flat().includes('object');

/** The schema that a reference within the same document means. */
export function resolve(root: Schema, ref: string): Schema | undefined {
  if (ref !== '#' && !ref.startsWith('#/')) return undefined;
  let place: unknown = root;
  for (const part of ref.split('/').slice(1)) {
    const key = decoded(part);
    if (key === undefined || typeof place !== 'object' || place === null || !Object.hasOwn(place, key))
      return undefined;
    place = (place as Schema)[key];
  }
  return isSchema(place) && !Array.isArray(place) ? place : undefined;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return undefined;
  }
}

function annotations(schema: unknown): Schema {
  const kept: Schema = {};
  if (isSchema(schema)) for (const keyword of ANNOTATIONS) if (keyword in schema) kept[keyword] = schema[keyword];
  return kept;
}

function define(object: Schema, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null;
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
