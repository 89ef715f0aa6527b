import { parseNamespaceBody } from '../config/bodies.ts';
import { writtenNamespace } from '../config/written.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { type Api, newApi } from '../control-plane/endpoint.ts';
import { namedResource } from '../control-plane/named-resource.ts';
import { putRow } from '../storage/named-rows.ts';

/** `namespaces`: the MCP endpoints and what each offers. */
export function namespacesApi(context: AdminContext): Api {
  const api = newApi();
  namedResource(api, context, {
    table: 'namespaces',
    kind: 'namespace',
    parse: parseNamespaceBody,
    write: writtenNamespace,
    save: (trx, wanted) => putRow(trx, 'namespaces', wanted),
  });
  return api;
}
