/** What a client says it can do, as far as the gateway must know: which requests an upstream may ask of it. */
import { LRUCache } from 'lru-cache';

export interface ClientCapabilities {
  /** The JSON object as the client wrote it. */
  readonly text: string;
  /** Requests that may be asked of it (`elicitation/create`, `sampling/createMessage`, `roots/list`). */
  readonly answers: ReadonlySet<string>;
  /** Elicitation by form and by URL; `elicitation: {}` means form only (MCP 2025-11-25, elicitation capabilities). */
  readonly elicitsForm: boolean;
  readonly elicitsUrl: boolean;
  readonly samplesWithTools: boolean;
  /** Identifiers under `extensions`. */
  readonly extensions: ReadonlySet<string>;
}

const known = new LRUCache<string, ClientCapabilities>({ max: 1000 });

/** From the text of a `capabilities` object that is known to be JSON. Many clients send the same few. */
export function clientCapabilities(text: string): ClientCapabilities {
  let capabilities = known.get(text);
  if (capabilities === undefined) {
    capabilities = read(text);
    known.set(text, capabilities);
  }
  return capabilities;
}

/** Whether a request of an upstream's may be put to the client; `mode` is that of an elicitation. */
export function mayBeAsked(client: ClientCapabilities, method: string, mode: string | undefined): boolean {
  if (!client.answers.has(method)) return false;
  if (method !== 'elicitation/create') return true;
  return mode === 'url' ? client.elicitsUrl : client.elicitsForm;
}

function read(text: string): ClientCapabilities {
  const value: unknown = JSON.parse(text);
  const declared = isObject(value) ? value : {};
  const answers = new Set<string>();
  if (isObject(declared.elicitation)) answers.add('elicitation/create');
  if (isObject(declared.sampling)) answers.add('sampling/createMessage');
  if (isObject(declared.roots)) answers.add('roots/list');
  const elicitation = isObject(declared.elicitation) ? declared.elicitation : undefined;
  const elicitsUrl = isObject(elicitation?.url);
  return {
    text,
    answers,
    elicitsForm: elicitation !== undefined && (isObject(elicitation.form) || !elicitsUrl),
    elicitsUrl,
    samplesWithTools: isObject(declared.sampling) && isObject(declared.sampling.tools),
    extensions: new Set(isObject(declared.extensions) ? Object.keys(declared.extensions) : []),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const NO_CAPABILITIES = clientCapabilities('{}');
