import type { ConnectionConfig } from '../../src/config/document.ts';
import { socketsIn } from '../../src/runtime/sockets.ts';
import type { RevisionDocument } from '../../src/snapshot/revision.ts';
import type { XdsContext } from '../../src/xds/compile.ts';

type Written = Partial<ConnectionConfig> & { readonly url: string };

/** A revision of the default tenant with these connections; a connection's id is its name. */
export function revision(connections: Readonly<Record<string, Written>>, maxRequestBytes = 65_536): RevisionDocument {
  return {
    settings: {
      listener: {},
      allowedOrigins: [],
      audit: {
        retentionMs: 1,
        record: { arguments: 'none', results: 'none' },
        redactKeys: [],
        maxValueBytes: 1,
      },
      maxRequestBytes,
    },
    tenants: [
      {
        id: 'default',
        connections: Object.entries(connections).map(([name, config]) => ({
          id: name,
          name,
          credentialId: null,
          config: {
            enabled: true,
            auth: { type: 'none' },
            headers: {},
            forward: [],
            session: 'auto',
            timeoutMs: 5_000,
            refreshMs: 60_000,
            limits: {},
            ...config,
          },
        })),
        namespaces: [],
        personas: [],
      },
    ],
  };
}

export const context = (directory: string, more: Partial<XdsContext> = {}): XdsContext => ({
  mcpHost: '127.0.0.1',
  mcpPort: 8080,
  sockets: socketsIn(directory),
  publicRootsPem: { inline: 'roots' },
  connectionTls: new Map(),
  ...more,
});
