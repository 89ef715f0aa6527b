/** DataHub's answers → flat rows as people would write them. What is absent, or of another type than published, is left out. */
import { ExactNumber, isObject, type Json, type JsonObject } from '../../mcp/exact-json.ts';
import { columnsOf } from './columns.ts';
import { childrenOf, compact, list, named, textAt, valueAt } from './read.ts';
import type { Answers, Columns } from './template.ts';

/** `data` of a GraphQL answer. Unknown entities give no row, nor do removed ones. */
export function rowsOf(data: JsonObject, answers: Answers): JsonObject[] {
  switch (answers.kind) {
    case 'entities':
      return list(data.entities).flatMap((entity) => {
        if (answers.isTerm && valueAt(entity, 'type') !== 'GLOSSARY_TERM') return [];
        if (!isThere(entity)) return [];
        const row = fullRow(entity, answers.columns);
        // Of kinds that cannot be asked whether they exist, URN and type alone are what was asked.
        return Object.keys(row).length > 2 ? [row] : [];
      });
    case 'search':
      return found(data).map(briefRow);
    case 'term named':
      return termsNamed(found(data), answers.name);
    case 'lineage':
      return childrenOf(data.entity, 'lineage', 'relationships').flatMap((relation) => {
        const { entity } = relation;
        // What the token may not see has a made-up URN.
        if (!isObject(entity) || entity.type === 'RESTRICTED' || textAt(entity, 'urn') === undefined) return [];
        return [compact({ ...briefRow(entity), direction: answers.direction, degree: numberAt(relation, 'degree') })];
      });
  }
}

const found = (data: JsonObject): JsonObject[] =>
  childrenOf(data, 'searchAcrossEntities', 'searchResults').flatMap(({ entity }) => (isObject(entity) ? [entity] : []));

function termsNamed(entities: readonly JsonObject[], name: string): JsonObject[] {
  const wanted = name.trim().toLowerCase();
  return entities
    .filter(isThere)
    .map((entity) => fullRow(entity, 'none'))
    .filter((row) => {
      return typeof row.name === 'string' && row.name.toLowerCase() === wanted;
    });
}

/** DataHub answers with a bare entity for any URN that it could have. */
function isThere(entity: JsonObject): boolean {
  return (
    textAt(entity, 'urn') !== undefined && entity.exists !== false && valueAt(entity, 'status', 'removed') !== true
  );
}

function briefRow(entity: JsonObject): JsonObject {
  return compact({
    urn: textAt(entity, 'urn'),
    name: nameOf(entity),
    type: textAt(entity, 'type'),
    platform: named(entity.platform) ?? named(valueAt(entity, 'dataFlow', 'platform')),
    description: descriptionOf(entity),
  });
}

function fullRow(entity: JsonObject, columns: Columns): JsonObject {
  return compact({
    ...briefRow(entity),
    subTypes: texts(valueAt(entity, 'subTypes', 'typeNames')),
    owners: childrenOf(entity, 'ownership', 'owners').flatMap(ownerOf),
    tags: tagsOf(entity),
    glossaryTerms: termsOf(entity),
    domain: named(valueAt(entity, 'domain', 'domain')),
    parents: childrenOf(entity, 'parentNodes', 'nodes').flatMap((node) => named(node) ?? []),
    deprecation: deprecationOf(entity),
    quality: qualityOf(entity),
    usage: usageOf(entity),
    profile: profileOf(entity),
    columns: columns === 'none' ? undefined : columnsOf(entity, columns, { tagsOf, termsOf }),
  });
}

/** What people call it. */
function nameOf(entity: JsonObject): string | undefined {
  return (
    textAt(entity, 'editableProperties', 'name') ??
    textAt(entity, 'editableProperties', 'displayName') ??
    textAt(entity, 'properties', 'name') ??
    textAt(entity, 'properties', 'displayName') ??
    textAt(entity, 'properties', 'fullName') ??
    textAt(entity, 'name') ??
    textAt(entity, 'username') ??
    textAt(entity, 'groupName')
  );
}

/** What somebody wrote in DataHub wins over what came with the metadata. */
const descriptionOf = (entity: JsonObject): string | undefined =>
  textAt(entity, 'editableProperties', 'description') ?? textAt(entity, 'properties', 'description');

function ownerOf(owner: JsonObject): JsonObject[] {
  const { owner: who } = owner;
  if (!isObject(who)) return [];
  const row = compact({
    name: nameOf(who) ?? lastOf(textAt(who, 'urn')),
    type: textAt(owner, 'ownershipType', 'info', 'name') ?? typeOf(textAt(owner, 'ownershipType', 'urn')),
    email: textAt(who, 'properties', 'email'),
  });
  return row.name === undefined ? [] : [row];
}

/** `urn:li:ownershipType:__system__technical_owner` → `Technical Owner`. */
function typeOf(urn: string | undefined): string | undefined {
  const words = lastOf(urn)
    ?.replace(/^__system__/, '')
    .split('_');
  return words?.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');
}

/** `urn:li:tag:pii` → `pii`. */
const lastOf = (urn: string | undefined): string | undefined => urn?.slice(urn.indexOf(':', 'urn:li:'.length) + 1);

/** Names of its tags. */
function tagsOf(entity: JsonObject): string[] {
  return childrenOf(entity, 'tags', 'tags').flatMap(({ tag }) => named(tag) ?? lastOf(textAt(tag, 'urn')) ?? []);
}

function termsOf(entity: JsonObject): JsonObject[] {
  return childrenOf(entity, 'glossaryTerms', 'terms').flatMap(({ term }) => {
    const name = named(term) ?? lastOf(textAt(term, 'urn'));
    if (name === undefined) return [];
    return [compact({ urn: textAt(term, 'urn'), name, description: textAt(term, 'properties', 'description') })];
  });
}

/** Only of what is deprecated. */
function deprecationOf(entity: JsonObject): JsonObject | undefined {
  const { deprecation } = entity;
  if (!isObject(deprecation) || deprecation.deprecated !== true) return undefined;
  const { replacement } = deprecation;
  return compact({
    deprecated: true,
    note: textAt(deprecation, 'note'),
    replacement: isObject(replacement)
      ? compact({ urn: textAt(replacement, 'urn'), name: nameOf(replacement) })
      : undefined,
    decommissionTime: timeAt(deprecation, 'decommissionTime'),
  });
}

const WORST = ['FAIL', 'WARN', 'PASS'];

/** `{ status: 'FAIL', checks: [{ type: 'ASSERTIONS', … }] }`: the worst of all that is checked. */
function qualityOf(entity: JsonObject): JsonObject | undefined {
  const checks = list(entity.health).map((check) =>
    compact({ type: textAt(check, 'type'), status: textAt(check, 'status'), message: textAt(check, 'message') }),
  );
  const status = WORST.find((one) => checks.some((check) => check.status === one));
  return status === undefined ? undefined : { status, checks };
}

function usageOf({ statsSummary: usage }: JsonObject): JsonObject | undefined {
  return optional({
    queriesLast30Days: numberAt(usage, 'queryCountLast30Days'),
    views: numberAt(usage, 'viewCount'),
    viewsLast30Days: numberAt(usage, 'viewCountLast30Days'),
    usersLast30Days: numberAt(usage, 'uniqueUserCountLast30Days'),
  });
}

/** As of the last time somebody counted. */
function profileOf(entity: JsonObject): JsonObject | undefined {
  const [profile] = list(entity.datasetProfiles);
  const counts = optional({ rowCount: numberAt(profile, 'rowCount'), columnCount: numberAt(profile, 'columnCount') });
  return counts && compact({ ...counts, at: timeAt(profile, 'timestampMillis') });
}

function optional(members: Readonly<Record<string, Json | undefined>>): JsonObject | undefined {
  const object = compact(members);
  return Object.keys(object).length === 0 ? undefined : object;
}

function numberAt(object: Json | undefined, key: string): Json | undefined {
  const value = valueAt(object, key);
  return typeof value === 'number' || value instanceof ExactNumber ? value : undefined;
}

/** Milliseconds since 1970 → ISO 8601. */
function timeAt(object: Json | undefined, key: string): string | undefined {
  const value = valueAt(object, key);
  // 0: not set. Dates end at 8.64e15.
  if (typeof value !== 'number' || value <= 0 || value > 8.64e15) return undefined;
  return new Date(value).toISOString();
}

function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string' && one !== '') : [];
}
