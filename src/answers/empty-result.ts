import { type Answer, answerJson, type Exchange } from '../exchange/exchange.ts';
import { idText } from '../mcp/envelope.ts';

/** A result that says no more than that it was done (MCP `EmptyResult`, legacy). */
export const emptyResult = ({ envelope }: Exchange): Answer =>
  answerJson([Buffer.from(`{"jsonrpc":"2.0","id":${idText(envelope)},"result":{}}`)]);
