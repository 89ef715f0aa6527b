import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { packageRoot } from '../../src/package-root.ts';
import { socketsIn } from '../../src/runtime/sockets.ts';
import { envoyBootstrap } from '../../src/xds/bootstrap.ts';
import { goTool } from './go-tool.ts';

interface Container {
  name: string;
  image: string;
  args?: string[];
  command?: string[];
  env?: { name: string; value?: string; valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
  ports?: { name: string; containerPort: number }[];
  securityContext: Record<string, unknown>;
  resources: { limits: { memory: string } };
  volumeMounts: { name: string; mountPath: string }[];
  readinessProbe?: { exec?: { command: string[] } };
}

/** The parts of Kubernetes objects that these tests read. */
interface Manifest {
  kind: string;
  metadata: { name: string; labels: Record<string, string> };
  data?: Record<string, string>;
  stringData?: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: each kind has its own
  spec?: any;
}

const DATABASE = 'postgres://sallyport:database-password@postgres:5432/sallyport';
const CHART = join(packageRoot, 'helm', 'sallyport');
// Building Helm takes a minute or two, once.
t.setTimeout(600_000);
const helm = await goTool({ module: 'helm.sh/helm/v3/cmd/helm', version: 'v3.22.0', onPath: ['helm', 'version'] });

async function runHelm(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(String(helm.path), args, { maxBuffer: 1 << 24 });
  return stdout;
}

async function render(values: object): Promise<Manifest[]> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-chart-'));
  try {
    const file = join(directory, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const text = await runHelm(
      'template',
      'gw',
      CHART,
      '--namespace',
      'mcp',
      '--kube-version',
      '1.33.0',
      '--values',
      file,
    );
    return parseAllDocuments(text)
      .map((document) => document.toJS() as Manifest | null)
      .filter((manifest) => manifest !== null);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const only = (manifests: Manifest[], kind: string, name?: string): Manifest => {
  const found = manifests.filter((one) => one.kind === kind && (name === undefined || one.metadata.name === name));
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} of ${kind} ${name ?? ''}`);
  return found[0];
};
const flag = (container: Container, name: string): string | undefined =>
  container.args?.[container.args.indexOf(name) + 1];

t.test('the Helm chart', { skip: helm.path === undefined ? helm.why : false }, async (t) => {
  t.test('lints without a word', async (t) => {
    t.match(await runHelm('lint', CHART, '--strict', '--set', `database.url=${DATABASE}`), /0 chart\(s\) failed/);
  });

  t.test('says what is missing and refuses what it does not know', async (t) => {
    await t.rejects(render({}), /Set database\.url/);
    await t.rejects(render({ database: { url: DATABASE }, replicas: 3 }), /replicas/);
    await t.rejects(render({ database: { url: 'mysql://nowhere' } }), /database/);
    await t.rejects(render({ database: { url: DATABASE }, podSecurityContext: { runAsUser: 0 } }), /runAsUser/);
  });

  t.test('renders a pod whose containers share their sockets and nothing else', async (t) => {
    const manifests = await render({
      database: { url: DATABASE },
      processors: 2,
      config: { publicUrl: 'https://mcp.example.com' },
    });
    const pod = only(manifests, 'Deployment').spec.template.spec;
    const containers = pod.containers as Container[];
    t.strictSame(
      containers.map(({ name }) => name),
      ['envoy', 'processor-0', 'processor-1', 'relay', 'control-plane'],
    );

    const runtimeDir = flag(containers[4] as Container, '--runtime-dir') ?? '';
    const sockets = socketsIn(runtimeDir);
    const bootstrap = JSON.parse(only(manifests, 'ConfigMap').data?.['bootstrap.json'] ?? '');
    const ours = envoyBootstrap({ sockets, workers: 2, relays: 1, nodeId: bootstrap.node.id });
    t.strictSame(
      bootstrap,
      JSON.parse(JSON.stringify(ours)),
      'Envoy starts with what `sallyport up` would start it with',
    );

    for (const container of [...containers, ...(pod.initContainers as Container[])]) {
      const run = container.volumeMounts.find(({ name }) => name === 'run');
      t.ok(run && runtimeDir.startsWith(`${run.mountPath}/`), `${container.name} mounts the directory of the sockets`);
      t.match(
        container.securityContext,
        {
          runAsNonRoot: true,
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        },
        `${container.name} can do nothing but its job`,
      );
      t.ok(container.resources.limits.memory, `${container.name} has a limit`);
      t.notOk('runAsUser' in container.securityContext, 'one user for all: the sockets are for that user only');
    }
    for (const index of [0, 1]) {
      const processor = containers[index + 1] as Container;
      t.equal(flag(processor, '--runtime-dir'), runtimeDir);
      t.equal(flag(processor, '--index'), String(index));
      t.equal(processor.readinessProbe?.exec?.command.at(-1), sockets.processor(index));
    }
    const relay = containers[3] as Container;
    t.equal(flag(relay, '--runtime-dir'), runtimeDir);
    t.equal(relay.readinessProbe?.exec?.command.at(-1), sockets.relay(0));
    t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } });
    t.equal(pod.automountServiceAccountToken, false);
    t.match(pod.initContainers[0].command, ['mkdir', '--mode=0700', '--parents', runtimeDir]);
    const volumes = (pod.volumes as { name: string }[]).map(({ name }) => name);
    for (const { name, volumeMounts } of containers) {
      for (const mount of volumeMounts)
        t.ok(volumes.includes(mount.name), `${name} mounts what is there: ${mount.name}`);
    }
  });

  t.test('leads each port from Service to listener', async (t) => {
    const manifests = await render({ database: { url: DATABASE }, service: { port: 8443 } });
    const containers = only(manifests, 'Deployment').spec.template.spec.containers as Container[];
    const ports = new Map(
      containers.flatMap(({ ports = [] }) => ports).map(({ name, containerPort }) => [name, containerPort]),
    );
    const controlPlane = containers.find(({ name }) => name === 'control-plane') as Container;
    t.equal(String(ports.get('mcp')), flag(controlPlane, '--mcp-port'));
    t.equal(String(ports.get('admin')), flag(controlPlane, '--admin-port'));
    const labels = only(manifests, 'Deployment').spec.template.metadata.labels;
    for (const [name, target] of [
      ['gw-sallyport', 'mcp'],
      ['gw-sallyport-admin', 'admin'],
    ] as const) {
      const service = only(manifests, 'Service', name);
      t.match(service.spec.ports, [{ targetPort: target }]);
      t.match(labels, service.spec.selector);
    }
    t.equal(only(manifests, 'Service', 'gw-sallyport').spec.ports[0].port, 8443);
    const policy = only(manifests, 'NetworkPolicy').spec;
    t.match(labels, policy.podSelector.matchLabels);
    t.strictSame(policy.ingress[0].from, undefined, 'MCP for everybody');
    t.strictSame(policy.ingress[1].from, [{ podSelector: {} }], 'the admin API for pods of the namespace');
    t.match(only(manifests, 'PodDisruptionBudget').spec, {
      maxUnavailable: 1,
      selector: { matchLabels: policy.podSelector.matchLabels },
    });
  });

  t.test('keeps every secret in a Secret', async (t) => {
    const config = {
      connections: { crm: { url: 'https://crm.example.com/mcp', auth: { type: 'bearer', token: 'crm-token' } } },
    };
    const manifests = await render({ database: { url: DATABASE }, config });
    const plain = manifests.filter(({ kind }) => kind !== 'Secret').map((manifest) => JSON.stringify(manifest));
    t.notMatch(plain.join('\n'), /database-password|crm-token/);

    const generated = only(manifests, 'Secret', 'gw-sallyport').data ?? {};
    const decode = (name: string): string => Buffer.from(generated[name] ?? '', 'base64').toString();
    t.equal(Buffer.from(decode('secret-key'), 'base64').length, 32, 'a key that SALLYPORT_SECRET_KEY accepts');
    t.ok(decode('admin-token').length >= 32);
    t.equal(only(manifests, 'Secret', 'gw-sallyport-database').stringData?.['database-url'], DATABASE);
    t.match(only(manifests, 'Secret', 'gw-sallyport-config').stringData?.['sallyport.yaml'], /token: crm-token/);

    const names = new Set(manifests.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name));
    const containers = only(manifests, 'Deployment').spec.template.spec.containers as Container[];
    for (const { name, env = [] } of containers) {
      for (const { valueFrom } of env) {
        if (valueFrom?.secretKeyRef) t.ok(names.has(valueFrom.secretKeyRef.name), `${name}: the Secret is there`);
      }
    }
    t.notOk(
      containers[0]?.env?.some(({ valueFrom }) => valueFrom?.secretKeyRef),
      'Envoy is given no secret',
    );
  });

  t.test('uses Secrets that exist already', async (t) => {
    const manifests = await render({
      database: { existingSecret: 'pg', existingSecretKey: 'uri' },
      secrets: { existingSecret: 'vaulted' },
      replicaCount: 1,
      networkPolicy: { enabled: false },
    });
    t.strictSame(manifests.map(({ kind }) => kind).sort(), [
      'ConfigMap',
      'Deployment',
      'Service',
      'Service',
      'ServiceAccount',
    ]);
    const containers = only(manifests, 'Deployment').spec.template.spec.containers as Container[];
    const references = containers.flatMap(({ env = [] }) =>
      env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef ?? []),
    );
    t.match(references, [
      { name: 'pg', key: 'uri' },
      { name: 'vaulted', key: 'secret-key' },
      { name: 'pg', key: 'uri' },
      { name: 'vaulted', key: 'secret-key' },
      { name: 'pg', key: 'uri' },
      { name: 'vaulted', key: 'secret-key' },
      { name: 'vaulted', key: 'admin-token' },
    ]);
  });
});
