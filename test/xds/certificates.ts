import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate authority made for one test, with openssl. */
export interface TestCa {
  readonly certPem: string;
  /** A certificate for these names (`DNS:…`, `IP:…`), good for servers and clients. */
  issue(commonName: string, names: readonly string[]): { readonly certPem: string; readonly keyPem: string };
}

export function createCa(commonName: string): TestCa {
  const { certPem, keyPem } = inDirectory((directory) => {
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    openssl(['req', '-x509', ...NEW_KEY, '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${commonName}`]);
    return { certPem: readFileSync(cert, 'utf8'), keyPem: readFileSync(key, 'utf8') };
  });
  return {
    certPem,
    issue: (name, names) =>
      inDirectory((directory) => {
        const path = (file: string) => join(directory, file);
        writeFileSync(path('ca.pem'), certPem);
        writeFileSync(path('ca-key.pem'), keyPem);
        writeFileSync(path('ext'), `subjectAltName=${names.join(',')}\nbasicConstraints=CA:FALSE\n`);
        openssl(['req', '-new', ...NEW_KEY, '-keyout', path('key'), '-out', path('csr'), '-subj', `/CN=${name}`]);
        const signing = ['-CA', path('ca.pem'), '-CAkey', path('ca-key.pem'), '-CAcreateserial', '-days', '2'];
        openssl(['x509', '-req', '-in', path('csr'), ...signing, '-extfile', path('ext'), '-out', path('cert')]);
        return { certPem: readFileSync(path('cert'), 'utf8'), keyPem: readFileSync(path('key'), 'utf8') };
      }),
  };
}

/** A certificate signed by its own key, of a kind that `openssl req` is asked for: `['-newkey', 'rsa:1024']`. */
export function selfSigned(kind: readonly string[]): { readonly certPem: string; readonly keyPem: string } {
  return inDirectory((directory) => {
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    openssl(['req', '-x509', ...kind, '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=own']);
    return { certPem: readFileSync(cert, 'utf8'), keyPem: readFileSync(key, 'utf8') };
  });
}

/** `openssl req` arguments for an EC key. */
export const ec = (curve: string): string[] => ['-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${curve}`];

/** For a certificate that only Envoy refuses: it demands an OCSP response, which Envoy then wants to be given. */
export const MUST_STAPLE = ['-newkey', 'rsa:2048', '-addext', 'tlsfeature=status_request'];

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

const openssl = (args: readonly string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });

function inDirectory<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'sp-ca-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
