import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { packageRoot } from '../../src/package-root.ts';

/** How the processor is attached: as a sidecar on a unix socket, or as a Service over TCP. */
export type Variant = { readonly unix: string } | { readonly port: number };

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has its own
  spec?: any;
}

/**
 * The manifests of envoy/envoy-gateway/ as users apply them, with only what depends on the machine replaced: Envoy as
 * a process of this host, ports, the socket's path, and the addresses behind the names.
 */
export function manifestsFor(
  variant: Variant,
  options: { readonly envoyVersion: string; readonly port: number; readonly upstreamPort: number },
): object[] {
  const attachment = 'unix' in variant ? 'processor-sidecar.yaml' : 'processor-service.yaml';
  const manifests = ['gateway.yaml', attachment, 'routes.yaml'].flatMap(read);
  for (const manifest of manifests) {
    const { kind, metadata, spec } = manifest;
    if (kind === 'EnvoyProxy') spec.provider = { type: 'Host', host: { envoyVersion: options.envoyVersion } };
    if (kind === 'Gateway') spec.listeners[0].port = options.port;
    if (kind === 'Backend' && metadata.name === 'everything') {
      spec.endpoints = [{ fqdn: { hostname: 'localhost', port: options.upstreamPort } }];
    }
    if (kind === 'Backend' && metadata.name === 'sallyport-processor' && 'unix' in variant) {
      spec.endpoints = [{ unix: { path: variant.unix } }];
    }
  }
  if ('unix' in variant) return manifests;
  // Standalone mode knows no Services: a Backend with the address that Kubernetes would have found stands in.
  const policy = manifests.find(({ kind }) => kind === 'EnvoyExtensionPolicy');
  policy?.spec.extProc[0].backendRefs.splice(0, 1, {
    group: 'gateway.envoyproxy.io',
    kind: 'Backend',
    name: 'sallyport-processor',
  });
  return [
    ...manifests.filter(({ kind }) => !['Deployment', 'Service', 'NetworkPolicy'].includes(kind)),
    {
      apiVersion: 'gateway.envoyproxy.io/v1alpha1',
      kind: 'Backend',
      metadata: { name: 'sallyport-processor', namespace: 'sallyport' },
      spec: { endpoints: [{ ip: { address: '127.0.0.1', port: variant.port } }] },
    },
  ];
}

function read(name: string): Manifest[] {
  const text = readFileSync(join(packageRoot, 'envoy', 'envoy-gateway', name), 'utf8');
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0]) throw new Error(`${name}: ${document.errors[0].message}`);
    return document.toJS() as Manifest;
  });
}
