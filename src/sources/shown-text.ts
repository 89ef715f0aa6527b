/** In characters. */
const MAX_SHOWN = 8_192;

/** A request as people are shown it: what is longer nobody reads, and it would be kept with every call. */
export function shownText(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
