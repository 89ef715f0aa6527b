/** The error of 2025-11-25 that says which pages the user must visit first (-32042), as what the next revision asks instead. */
import { JsonError, type Span, skipSpace, skipValue, stringAt } from '../../mcp/json.ts';
import { insertMembers, removeMembers } from '../../mcp/object-edit.ts';
import type { ResponseEnvelope } from '../../mcp/response.ts';
import { splice } from '../../mcp/splice.ts';
import { type InputRequest, modeIn } from '../../translate/input-required.ts';
import { member } from '../../translate/member.ts';

const MAX_URLS = 32;

/** `data.elicitations` of the error as input requests; undefined when it holds none that can be used. */
export function urlsToVisit({ bytes, outcome }: ResponseEnvelope): readonly InputRequest[] | undefined {
  try {
    const data = outcome === undefined ? undefined : member(bytes, outcome, 'data');
    const list = data === undefined ? undefined : member(bytes, data, 'elicitations');
    const items = list === undefined ? [] : itemsOf(bytes, list);
    const requests = items.slice(0, MAX_URLS).map((item, index) => requestFor(bytes, item, `url-${index + 1}`));
    return requests.length > 0 && requests.every((one) => one !== undefined) ? requests : undefined;
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

/** What was left out counts as done: the upstream asks again if it is not. */
export const areAccepted = (keys: readonly string[], responses: ReadonlyMap<string, Buffer>): boolean =>
  keys.every((key) => {
    const response = responses.get(key);
    if (response === undefined) return true;
    const action = member(response, { start: 0, end: response.length }, 'action');
    return action !== undefined && response.toString('utf8', action.start, action.end) === '"accept"';
  });

function requestFor(bytes: Buffer, item: Span, key: string): InputRequest | undefined {
  const url = member(bytes, item, 'url');
  if (url === undefined || bytes[url.start] !== 0x22 || !URL.canParse(stringAt(bytes, url.start, url.end))) {
    return undefined;
  }
  // Its id has gone with 2026-07-28.
  const params = splice(
    bytes,
    removeMembers(bytes, item, 3, (name) => name === 'elicitationId'),
  ).subarray(item.start);
  const whole = params.subarray(0, skipValue(params, 0, 3));
  const isUrl = modeIn(whole) === 'url';
  const said = isUrl ? whole : splice(whole, [insertMembers(whole, { start: 0, end: whole.length }, '"mode":"url"')]);
  return modeIn(said) === 'url' ? { key, method: 'elicitation/create', params: said } : undefined;
}

function itemsOf(bytes: Buffer, list: Span): Span[] {
  const items: Span[] = [];
  if (bytes[list.start] !== 0x5b) return items;
  let position = skipSpace(bytes, list.start + 1);
  while (bytes[position] !== 0x5d) {
    const end = skipValue(bytes, position, 3);
    items.push({ start: position, end });
    position = skipSpace(bytes, end);
    if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
  }
  return items;
}
