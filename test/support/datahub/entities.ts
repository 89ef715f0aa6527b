/** What the DataHub of the tests knows: the `tpch` catalog of a Trino, and things around it. Members are as its schema names them. */

export interface Known {
  readonly urn: string;
  readonly type: string;
  readonly [member: string]: unknown;
}

export const tableUrn = (name: string): string => `urn:li:dataset:(urn:li:dataPlatform:trino,${name},PROD)`;

const platform = (name: string, displayName: string): Known => ({
  urn: `urn:li:dataPlatform:${name}`,
  type: 'DATA_PLATFORM',
  name,
  properties: { displayName },
});
const TRINO = platform('trino', 'Trino');
const SUPERSET = platform('superset', 'Superset');

const ANNA: Known = {
  urn: 'urn:li:corpuser:anna',
  type: 'CORP_USER',
  username: 'anna',
  properties: { displayName: 'Anna Berg', fullName: 'Anna Berg', email: 'anna@example.com' },
};
const STEWARDS: Known = {
  urn: 'urn:li:corpGroup:stewards',
  type: 'CORP_GROUP',
  name: 'stewards',
  properties: { displayName: 'Data Stewards' },
};

const owned = (...owners: [who: Known, type: string, name?: string][]): unknown => ({
  owners: owners.map(([owner, type, name]) => ({
    owner,
    ownershipType: { urn: `urn:li:ownershipType:${type}`, type: 'CUSTOM_OWNERSHIP_TYPE', info: name && { name } },
  })),
});

const tag = (name: string): Known => ({ urn: `urn:li:tag:${name}`, type: 'TAG', properties: { name } });
/** As ingestion leaves them: nobody has given it properties. */
const BARE_TAG: Known = { urn: 'urn:li:tag:legacy', type: 'TAG' };
const tagged = (...tags: Known[]): unknown => ({ tags: tags.map((one) => ({ tag: one })) });

const FINANCE: Known = { urn: 'urn:li:glossaryNode:finance', type: 'GLOSSARY_NODE', properties: { name: 'Finance' } };
const SALES: Known = {
  urn: 'urn:li:domain:sales',
  type: 'DOMAIN',
  properties: { name: 'Sales', description: 'Orders.' },
};

const CUSTOMER_TERM: Known = {
  urn: 'urn:li:glossaryTerm:customer',
  type: 'GLOSSARY_TERM',
  exists: true,
  properties: { name: 'Customer', description: 'Somebody who has ordered at least once.' },
  ownership: owned([STEWARDS, '__system__data_steward', 'Data Steward']),
  domain: { domain: SALES },
  parentNodes: { nodes: [FINANCE] },
};
const CUSTOMER_KEY_TERM: Known = {
  urn: 'urn:li:glossaryTerm:customer-key',
  type: 'GLOSSARY_TERM',
  exists: true,
  properties: { name: 'Customer Key', description: 'Names one customer.' },
};
const termed = (...terms: Known[]): unknown => ({ terms: terms.map((term) => ({ term })) });

const field = (fieldPath: string, nativeDataType: string, more: Readonly<Record<string, unknown>> = {}): unknown => ({
  fieldPath,
  nativeDataType,
  nullable: true,
  ...more,
});

const table = (name: string, more: Readonly<Record<string, unknown>>): Known => ({
  urn: tableUrn(name),
  type: 'DATASET',
  name,
  exists: true,
  platform: TRINO,
  status: { removed: false },
  properties: { name: name.split('.').at(-1) },
  subTypes: { typeNames: ['Table'] },
  ...more,
});

const CUSTOMER = table('tpch.tiny.customer', {
  properties: { name: 'customer', description: 'as ingested' },
  editableProperties: { description: 'One row for each customer.' },
  ownership: owned([ANNA, '__system__technical_owner', 'Technical Owner'], [STEWARDS, '__system__data_steward']),
  tags: tagged(tag('pii'), BARE_TAG),
  glossaryTerms: termed(CUSTOMER_TERM),
  domain: { domain: SALES },
  health: [
    { type: 'INCIDENTS', status: 'PASS' },
    { type: 'ASSERTIONS', status: 'FAIL', message: '1 of 3 assertions is failing' },
  ],
  statsSummary: { queryCountLast30Days: 42, uniqueUserCountLast30Days: 3 },
  datasetProfiles: [{ timestampMillis: 1_764_000_000_000, rowCount: 1500, columnCount: 8 }],
  schemaMetadata: {
    fields: [
      field('[version=2.0].[type=long].custkey', 'bigint', { nullable: false, isPartOfKey: true }),
      field('[version=2.0].[type=string].name', 'varchar(25)', { description: 'as ingested' }),
      field('[version=2.0].[type=string].phone', 'varchar(15)', { tags: tagged(tag('pii')) }),
      field('[version=2.0].[type=double].acctbal', 'double', { description: 'Balance, in EUR.' }),
      field('[version=2.0].[type=string].comment', 'varchar(117)'),
    ],
  },
  editableSchemaMetadata: {
    editableSchemaFieldInfo: [
      { fieldPath: 'name', description: 'Full name, as on the contract.', tags: tagged(tag('pii')) },
      { fieldPath: 'custkey', glossaryTerms: termed(CUSTOMER_KEY_TERM) },
    ],
  },
});

const ORDERS = table('tpch.tiny.orders', {
  properties: { name: 'orders', description: 'Orders since 1992.' },
  health: [{ type: 'ASSERTIONS', status: 'PASS', message: 'All 2 assertions are passing' }],
});

const LINEITEM = table('tpch.tiny.lineitem', {
  properties: { name: 'lineitem', description: 'Items of orders.' },
  deprecation: {
    deprecated: true,
    note: 'Prices are wrong before 1993.',
    decommissionTime: 1_798_675_200_000,
    replacement: ORDERS,
  },
});

/** Catalogued, and nobody has said anything of it. */
const NATION = table('tpch.tiny.nation', { deprecation: { deprecated: false, note: '' } });
const REMOVED = table('tpch.tiny.old_customer', {
  status: { removed: true },
  properties: { name: 'old_customer', description: 'Gone.' },
});
/** Names that have a meaning in URNs are escaped. */
const ODD = table('tpch.tiny.odd%2C %28näme%29', { properties: { name: 'odd, (näme)', description: 'Oddly named.' } });

const DASHBOARD: Known = {
  urn: 'urn:li:dashboard:(superset,12)',
  type: 'DASHBOARD',
  exists: true,
  platform: SUPERSET,
  properties: { name: 'Customers at a glance', description: 'Weekly.' },
  statsSummary: { viewCount: 900, viewCountLast30Days: 12, uniqueUserCountLast30Days: 4 },
};
const DAG: Known = {
  urn: 'urn:li:dataFlow:(airflow,nightly,prod)',
  type: 'DATA_FLOW',
  platform: platform('airflow', 'Airflow'),
  properties: { name: 'nightly' },
};
const JOB: Known = {
  urn: 'urn:li:dataJob:(urn:li:dataFlow:(airflow,nightly,prod),load_customers)',
  type: 'DATA_JOB',
  exists: true,
  dataFlow: DAG,
  properties: { name: 'load_customers' },
};
const RESTRICTED: Known = { urn: 'urn:li:restricted:abc', type: 'RESTRICTED' };

export const ENTITIES: ReadonlyMap<string, Known> = new Map(
  [
    CUSTOMER,
    ORDERS,
    LINEITEM,
    NATION,
    REMOVED,
    ODD,
    DASHBOARD,
    DAG,
    JOB,
    CUSTOMER_TERM,
    CUSTOMER_KEY_TERM,
    SALES,
    ANNA,
    STEWARDS,
  ].map((entity) => [entity.urn, entity]),
);

/** Pairs of upstream and downstream. */
export const LINEAGE: readonly (readonly [up: Known, down: Known])[] = [
  [JOB, CUSTOMER],
  [RESTRICTED, CUSTOMER],
  [CUSTOMER, DASHBOARD],
  [CUSTOMER, ORDERS],
  [ORDERS, LINEITEM],
];

export const ME = ANNA;
export { TRINO };
