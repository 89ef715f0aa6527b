/**
 * What is asked of DataHub. All values travel as variables, so each text is always the same and none can be bent. Fields
 * are those that DataHub has had since 1.0 and that are not deprecated; the largest query has a complexity of 650, of the
 * 2000 that DataHub allows unless told otherwise.
 */

/** Fields that a type has besides the common ones are written out: types of DataHub share names, not interfaces. */
const GOVERNED = 'ownership { ...Owners } tags { ...Tags } glossaryTerms { ...Terms } domain { ...InDomain }';
const DATED = 'deprecation { ...Deprecated }';
const CHECKED = 'health { type status message }';
const EDITED = 'properties { name description } editableProperties { description }';

/** Told of every entity, for lists: enough to recognise it. */
const BRIEF = `
fragment Brief on Entity {
  urn
  type
  ... on Dataset { name platform { ...Platform } properties { name description } editableProperties { name description } }
  ... on Dashboard { platform { ...Platform } ${EDITED} }
  ... on Chart { platform { ...Platform } ${EDITED} }
  ... on DataFlow { platform { ...Platform } ${EDITED} }
  ... on DataJob { dataFlow { platform { ...Platform } } ${EDITED} }
  ... on Container { platform { ...Platform } ${EDITED} }
  ... on DataProduct { properties { name description } }
  ... on GlossaryTerm { properties { name description } }
  ... on GlossaryNode { properties { name description } }
  ... on Domain { properties { name description } }
  ... on Tag { properties { name description } }
  ... on CorpUser { ...Person }
  ... on CorpGroup { ...Group }
}
fragment Platform on DataPlatform { name properties { displayName } }
fragment Person on CorpUser { username properties { displayName fullName email } editableProperties { displayName } }
fragment Group on CorpGroup { groupName: name properties { displayName email } }`;

const GOVERNANCE = `
fragment Owners on Ownership {
  owners { owner { ... on CorpUser { urn ...Person } ... on CorpGroup { urn ...Group } } ownershipType { urn info { name } } }
}
fragment Tags on GlobalTags { tags { tag { urn properties { name description } } } }
fragment Terms on GlossaryTerms { terms { term { urn properties { name description } } } }
fragment InDomain on DomainAssociation { domain { urn properties { name } } }
fragment Deprecated on Deprecation { deprecated note decommissionTime replacement { ...Called } }
fragment Called on Entity {
  urn
  ... on Dataset { name properties { name } editableProperties { name } }
  ... on Dashboard { properties { name } }
  ... on Chart { properties { name } }
  ... on GlossaryTerm { properties { name } }
}`;

/** Everything that is told of one entity. `columns`: also of its columns. */
const FULL = `
fragment Full on Entity {
  ...Brief
  ... on Dataset {
    exists status { removed } subTypes { typeNames } ${GOVERNED} ${DATED} ${CHECKED}
    statsSummary { queryCountLast30Days uniqueUserCountLast30Days }
    datasetProfiles(limit: 1) { rowCount columnCount timestampMillis }
    schemaMetadata @include(if: $columns) {
      fields { fieldPath description nullable isPartOfKey nativeDataType tags { ...Tags } glossaryTerms { ...Terms } }
    }
    editableSchemaMetadata @include(if: $columns) {
      editableSchemaFieldInfo { fieldPath description tags { ...Tags } glossaryTerms { ...Terms } }
    }
  }
  ... on Dashboard {
    exists status { removed } ${GOVERNED} ${DATED} ${CHECKED}
    statsSummary { viewCount viewCountLast30Days uniqueUserCountLast30Days }
  }
  ... on Chart {
    exists status { removed } ${GOVERNED} ${DATED} ${CHECKED}
    statsSummary { viewCount viewCountLast30Days uniqueUserCountLast30Days }
  }
  ... on DataFlow { exists status { removed } ${GOVERNED} ${DATED} ${CHECKED} }
  ... on DataJob { exists status { removed } ${GOVERNED} ${DATED} ${CHECKED} }
  ... on Container { exists status { removed } subTypes { typeNames } ${GOVERNED} ${DATED} }
  ... on DataProduct { ${GOVERNED} }
  ... on GlossaryTerm {
    exists ownership { ...Owners } domain { ...InDomain } ${DATED} parentNodes { nodes { urn properties { name } } }
  }
  ... on Domain { ownership { ...Owners } }
  ... on Tag { ownership { ...Owners } }
}${BRIEF}${GOVERNANCE}`;

const RESULTS = '{ total searchResults { entity { ...Brief } } }';

/** By operation. */
export const QUERIES = {
  entities: `query Entities($urns: [String!]!, $columns: Boolean!) { entities(urns: $urns) { ...Full } }${FULL}`,
  search: `query Search($input: SearchAcrossEntitiesInput!) { searchAcrossEntities(input: $input) ${RESULTS} }${BRIEF}`,
  terms: `query Terms($input: SearchAcrossEntitiesInput!, $columns: Boolean!) {
  searchAcrossEntities(input: $input) { total searchResults { entity { ...Full } } }
}${FULL}`,
  lineage: `query Lineage($urn: String!, $input: LineageInput!) {
  entity(urn: $urn) {
    ... on EntityWithRelationships { lineage(input: $input) { total relationships { type degree entity { ...Brief } } } }
  }
}${BRIEF}`,
  /** Whether the token is somebody's, and what answers. */
  hello: 'query Hello { me { corpUser { urn username } } appConfig { appVersion } }',
} as const;

export type Query = keyof typeof QUERIES;
