/** The kinds of sources there are, opened. */
import { openDataHub } from './datahub/client.ts';
import { openHttp } from './http/client.ts';
import { openPostgres } from './postgres/client.ts';
import type { SourceClient, SourceDefinition } from './source.ts';
import { openTrino } from './trino/client.ts';

/** Opens a source whose secrets are resolved. Connects at its first use. */
export function openSource({ config }: SourceDefinition): SourceClient {
  switch (config.type) {
    case 'trino':
      return openTrino(config);
    case 'postgres':
      return openPostgres(config);
    case 'datahub':
      return openDataHub(config);
    case 'http':
      return openHttp(config);
  }
}
