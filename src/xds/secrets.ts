import { existsSync, readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { PlainResource } from '../wire.ts';
import { KIND_TYPE } from './type-urls.ts';

/** Secrets travel by SDS, so that a new certificate replaces the old one without touching a listener or a cluster. */
export const certificateSecret = (name: string, certPem: string, keyPem: string): PlainResource => ({
  '@type': KIND_TYPE.secrets,
  name,
  tls_certificate: { certificate_chain: { inline_string: certPem }, private_key: { inline_string: keyPem } },
});

/** Certificates to trust. */
export const trustSecret = (name: string, trusted: Pem): PlainResource => ({
  '@type': KIND_TYPE.secrets,
  name,
  validation_context: {
    trusted_ca: 'filename' in trusted ? { filename: trusted.filename } : { inline_string: trusted.inline },
  },
});

/** PEM text, or a file that Envoy itself can read. */
export type Pem = { readonly filename: string } | { readonly inline: string };

const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/ssl/cert.pem', // macOS, Alpine, FreeBSD
];

/**
 * The public certificate authorities: `sslCertFile` (the value of SSL_CERT_FILE) where given, else the system's, else
 * the ones that Node carries. Always the text: an Envoy need not share a file system with the control plane.
 */
export function publicRoots(sslCertFile?: string): Pem {
  const file = sslCertFile ?? BUNDLES.find((path) => existsSync(path));
  if (file === undefined) return { inline: rootCertificates.join('\n') };
  try {
    return { inline: readFileSync(file, 'utf8') };
  } catch (error) {
    throw new Error(
      `The trusted certificates in ${file} cannot be read: ${(error as Error).message}. Check SSL_CERT_FILE.`,
    );
  }
}
