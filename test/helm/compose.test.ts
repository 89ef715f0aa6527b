import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { packageRoot } from '../../src/package-root.ts';

interface Service {
  image: string;
  ports?: string[];
  healthcheck?: object;
  restart?: string;
  volumes?: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
}

const read = (name: string): string => readFileSync(join(packageRoot, name), 'utf8');
const compose = parse(read('docker-compose.yml')) as {
  services: Record<string, Service>;
  networks: Record<string, object>;
  volumes: Record<string, object>;
};

t.test('docker-compose.yml keeps the admin API on this machine and holds no secret', (t) => {
  const { services, volumes } = compose;
  const published = Object.values(services).flatMap(({ ports = [] }) => ports);
  t.strictSame(published, [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: docker compose substitutes them
    '${SALLYPORT_BIND:-127.0.0.1}:${SALLYPORT_PORT:-8080}:8080',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: docker compose substitutes them
    '127.0.0.1:${SALLYPORT_ADMIN_PORT:-8081}:8081',
  ]);
  for (const [name, service] of Object.entries(services)) {
    t.ok(service.healthcheck ?? service.restart === undefined, `${name} says how it is, or ends by itself`);
    for (const dependency of Object.keys(service.depends_on ?? {})) t.ok(services[dependency], `${dependency} exists`);
    for (const mount of service.volumes ?? []) t.ok(String(mount.split(':')[0]) in volumes, `${mount} is declared`);
    for (const variable of Object.keys(service.environment ?? {})) t.notMatch(variable, /PASSWORD$|TOKEN$|KEY$/);
  }
  t.end();
});

const client = spawnSync('docker', ['compose', 'version']);
t.test(
  'docker compose accepts the file',
  { skip: client.status === 0 ? false : 'docker compose is not installed' },
  (t) => {
    const { status, stderr } = spawnSync('docker', ['compose', 'config', '--quiet'], {
      cwd: packageRoot,
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
    t.end();
  },
);

t.test('the Dockerfile copies what is there and what .dockerignore lets through', (t) => {
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const copied = read('Dockerfile')
    .split('\n')
    .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
    .flatMap((line) => line.split(/\s+/).slice(1, -1));
  t.ok(copied.length > 5);
  for (const source of copied) {
    t.ok(existsSync(join(packageRoot, source)), `${source} exists`);
    t.ok(allowed.includes(source.split('/')[0] ?? ''), `${source} reaches the build`);
  }
  t.match(read('Dockerfile'), /^USER node$/m, 'not root');
  t.match(read('Dockerfile'), /^FROM envoyproxy\/envoy:v1\.40\.\d+ AS envoy$/m);
  t.end();
});
