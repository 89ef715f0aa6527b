/** What a client has asked of its upstreams once and a new session with one must be told again. */
import type { Egress } from '../egress/egress.ts';
import { ownId } from '../egress/own-id.ts';
import { tell } from '../egress/tell.ts';
import type { UpstreamSession } from '../exchange/exchange.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { SessionWishes } from './stored-session.ts';

/** Log level and subscriptions, to an upstream that has such things. A refusal of one does not spoil the session. */
export async function repeatWishes(
  egress: Egress,
  connection: Connection,
  session: UpstreamSession,
  { logLevel, subscriptions }: SessionWishes,
  signal: AbortSignal,
): Promise<void> {
  const { capabilities } = connection.catalog;
  if (logLevel !== undefined && capabilities.logging !== undefined) {
    await tell(egress, connection, session, setLevelMessage(logLevel), signal);
  }
  for (const uri of subscriptions) {
    const params = JSON.stringify({ uri });
    const body = `{"jsonrpc":"2.0","id":"${ownId('subscribe')}","method":"resources/subscribe","params":${params}}`;
    await tell(egress, connection, session, body, signal);
  }
}

export const setLevelMessage = (level: string): string =>
  `{"jsonrpc":"2.0","id":"${ownId('level')}","method":"logging/setLevel","params":${JSON.stringify({ level })}}`;
