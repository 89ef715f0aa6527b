// Which room may know which: the planes share the snapshot and nothing else, and every outside technology has one door.

/** Modules matching `of`, or named so in node_modules. */
const only = (name, comment, packages, allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: '^src/', pathNot: allowed },
  to: { path: packages.map((one) => `(^|/)node_modules/${one}/`) },
});

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Modules that need each other are one module, or hide a third.',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'The import leads nowhere: a file was renamed, or a package is not in package.json.',
      severity: 'error',
      from: { path: '^src/' },
      to: { couldNotResolve: true },
    },
    {
      name: 'no-development-packages',
      comment: 'What is published runs without the packages that build and test it.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'vocabulary-is-pure',
      comment:
        'exchange, mcp and the snapshot types know nothing of Envoy, Postgres or HTTP, nor of the rooms that do.',
      severity: 'error',
      from: { path: '^src/(exchange|mcp)/' },
      to: { path: '^src/', pathNot: '^src/(exchange|mcp|snapshot|config|identity|policy)/' },
    },
    {
      name: 'vocabulary-without-packages',
      comment: 'The same for packages: bytes in, values out.',
      severity: 'error',
      from: { path: '^src/(exchange|mcp)/' },
      to: { path: '(^|/)node_modules/(@grpc|protobufjs|pg|kysely|hono|@hono|@modelcontextprotocol)/' },
    },
    {
      name: 'data-plane-reaches-no-tables',
      comment: 'A call is decided from the snapshot. What the data plane must fetch or write comes in as a function.',
      severity: 'error',
      from: { path: '^src/data-plane/' },
      to: { path: '^src/(storage|control-plane|xds|supervisor|cli)/|/(store|api)\\.ts$', reachable: true },
    },
    {
      name: 'xds-is-made-from-the-document',
      comment: 'Envoy resources follow from a revision, not from tables or requests.',
      severity: 'error',
      from: { path: '^src/xds/' },
      to: { path: '^src/(storage|control-plane|data-plane|supervisor|cli)/' },
    },
    {
      name: 'command-line-speaks-http',
      comment: 'The command line uses the admin API like any client; it does not touch tables.',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/(storage|data-plane|xds)/|/store\\.ts$' },
    },
    {
      name: 'supervisor-runs-processes',
      comment: 'Roles are processes; the supervisor starts them and does not run them.',
      severity: 'error',
      from: { path: '^src/supervisor/' },
      to: { path: '^src/(data-plane|control-plane|catalog|cli)/' },
    },
    only(
      'grpc-at-the-wire',
      'gRPC and protobuf end at the planes that speak to Envoy.',
      ['@grpc', 'protobufjs'],
      '^src/(wire|data-plane|xds)(/|\\.ts$)',
    ),
    only(
      'postgres-in-stores',
      'SQL is in storage, in the store of each room, and where rules ask a Postgres of their own.',
      ['pg', 'kysely'],
      '^src/(storage|bench|sources/postgres)/|/[a-z-]*store\\.ts$|^src/snapshot/feed\\.ts$',
    ),
    only(
      'hono-in-apis',
      "The HTTP framework is the control plane's.",
      ['hono', '@hono'],
      '^src/control-plane/|/api\\.ts$',
    ),
    only(
      'sdk-away-from-the-calls',
      'The SDK parses and writes JSON anew; what passes through is spliced. It is for the demo server and for being a client.',
      ['@modelcontextprotocol'],
      '^src/(catalog|bridge|demo|egress|bench)/',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
