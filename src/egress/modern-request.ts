/** The gateway's own requests to modern upstreams: each describes itself (MCP 2026-07-28, "Request Metadata"). */
import { META } from '../mcp/revision.ts';
import type { PostOptions } from './post.ts';
import { OWN_INFO } from './upstream-client.ts';

export interface ModernRequest {
  readonly body: Buffer;
  readonly headers: Pick<PostOptions, 'protocolVersion' | 'extraHeaders'>;
}

/**
 * `params`: JSON text of further members, such as `"cursor":"x"`; empty for none. `capabilities`: of the clients that are
 * asked for.
 */
export function modernRequest(
  method: string,
  version: string,
  id: string,
  params = '',
  capabilities: object = {},
): ModernRequest {
  const meta = JSON.stringify({
    [META.protocolVersion]: version,
    [META.clientInfo]: OWN_INFO,
    [META.clientCapabilities]: capabilities,
  });
  const members = params === '' ? '' : `${params},`;
  return {
    body: Buffer.from(
      `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"method":"${method}","params":{${members}"_meta":${meta}}}`,
    ),
    headers: { protocolVersion: version, extraHeaders: [['mcp-method', method]] },
  };
}
