/** The stream on which an upstream says that its lists have changed: GET (legacy) or `subscriptions/listen` (modern). */
import { startDeadline } from '../egress/deadline.ts';
import type { Egress, EgressResponse } from '../egress/egress.ts';
import { modernRequest } from '../egress/modern-request.ts';
import { post } from '../egress/post.ts';
import { sessionHeaders } from '../egress/session.ts';
import { isObject } from '../egress/upstream-client.ts';
import { idText } from '../mcp/envelope.ts';
import { EventSplitter, eventData } from '../mcp/events.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Introduction } from './introduction.ts';

const MAX_EVENT_BYTES = 1 << 20;
const ANSWER_TIMEOUT_MS = 5000;

const CHANGES: readonly (string | undefined)[] = [
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
];
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

/** Told while a stream is followed. */
export interface ChangeListener {
  changed(): void;
  /** The server has promised to tell of every change of every list that it has: asking on a timer finds nothing more. */
  promised(): void;
}

/**
 * Follows it to its end, which a rejection is too. `refused`: the upstream has no such stream, or nothing to tell on it;
 * asking again would be noise.
 */
export async function followChanges(
  connection: Connection,
  egress: Egress,
  server: Introduction,
  signal: AbortSignal,
  listener: ChangeListener,
): Promise<'refused' | 'ended'> {
  const answer = await open(connection, egress, server, signal);
  if (answer === undefined) return 'refused';
  if (answer.status !== 200 || !/^text\/event-stream/i.test(answer.headers['content-type'] ?? '')) {
    answer.body.resume();
    const isFinal = answer.status < 500 && answer.localReply === undefined;
    return isFinal ? 'refused' : 'ended';
  }
  const splitter = new EventSplitter(MAX_EVENT_BYTES);
  let isHeard = false;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    for (const event of splitter.push(chunk)) {
      const data = eventData(event);
      const message = data === undefined ? undefined : parseResponse(data);
      // The answer to the request itself: an error instead of a stream, or a stream that ends in order.
      if (message?.kind === 'error' && server.era === 'modern' && !isHeard) return 'refused';
      isHeard ||= message !== undefined;
      if (CHANGES.includes(message?.method)) listener.changed();
      else if (message?.method === ACKNOWLEDGED && isWhole(message, server)) listener.promised();
      else if (message?.kind === 'message' && message.id !== undefined) {
        await answerQuestion(connection, egress, server, message, signal);
      }
    }
  }
  return 'ended';
}

/** The session is nobody's, though it speaks for all clients: what is asked on it has no answer. */
async function answerQuestion(
  connection: Connection,
  egress: Egress,
  server: Introduction,
  question: ResponseEnvelope,
  signal: AbortSignal,
): Promise<void> {
  const answer =
    question.method === 'ping'
      ? '"result":{}'
      : '"error":{"code":-32601,"message":"This session reads lists; there is no user behind it."}';
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${idText(question)},${answer}}`);
  const { sessionId, protocolVersion } = server;
  const deadline = startDeadline(ANSWER_TIMEOUT_MS, signal);
  await post(egress, connection, body, {
    sessionId,
    protocolVersion,
    maxBytes: MAX_EVENT_BYTES,
    signal: deadline.signal,
  })
    // Whoever does not take the answer did not need it.
    .catch(() => {})
    .finally(() => deadline.release());
}

async function open(
  connection: Connection,
  egress: Egress,
  server: Introduction,
  signal: AbortSignal,
): Promise<EgressResponse | undefined> {
  const common = { path: connection.path, signal, stream: true } as const;
  if (server.era === 'legacy') {
    // Without a session there is nothing that a stream could belong to.
    if (server.sessionId === undefined) return undefined;
    const headers = {
      ...sessionHeaders(connection, { id: server.sessionId, protocolVersion: server.protocolVersion }),
      accept: 'text/event-stream',
    };
    return egress.send(connection, { ...common, method: 'GET', headers });
  }
  const wanted = changing(server);
  if (wanted.length === 0) return undefined;
  const filter = JSON.stringify(Object.fromEntries(wanted.map((kind) => [`${kind}ListChanged`, true])));
  const params = `"notifications":${filter}`;
  const { body } = modernRequest('subscriptions/listen', server.protocolVersion, 'sallyport-listen', params);
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-method': 'subscriptions/listen',
    ...sessionHeaders(connection, { id: server.sessionId, protocolVersion: server.protocolVersion }),
  };
  return egress.send(connection, { ...common, method: 'POST', headers, body });
}

const LISTS = ['tools', 'prompts', 'resources'];

/** Lists whose changes a modern server tells of. */
const changing = ({ capabilities }: Introduction): string[] =>
  LISTS.filter((kind) => {
    const capability = capabilities[kind];
    return isObject(capability) && capability.listChanged === true;
  });

/** Whether the acknowledgement names every list that the server has. */
function isWhole({ bytes }: ResponseEnvelope, { capabilities }: Introduction): boolean {
  const { params } = JSON.parse(bytes.toString('utf8')) as { params?: unknown };
  const honoured = isObject(params) && isObject(params.notifications) ? params.notifications : {};
  return LISTS.every((kind) => capabilities[kind] === undefined || honoured[`${kind}ListChanged`] === true);
}

/** Two introductions with the same one have the same stream. */
export const streamIdentity = (server: Introduction): string =>
  [server.era, server.protocolVersion, server.sessionId ?? '', ...changing(server)].join(' ');
