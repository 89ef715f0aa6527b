/** `name/version` of a `clientInfo` object, for the audit: the client says it, so it is bounded and decides nothing. */
export function clientName(clientInfo: string): string {
  const { name, version } = (JSON.parse(clientInfo) ?? {}) as { name?: unknown; version?: unknown };
  const text = [name, version].filter((part): part is string => typeof part === 'string').join('/');
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}

/** The other way round: what an upstream is told of its client. */
export function clientInfo(clientName: string): { name: string; version: string } {
  const slash = clientName.lastIndexOf('/');
  return slash < 0
    ? { name: clientName, version: '' }
    : { name: clientName.slice(0, slash), version: clientName.slice(slash + 1) };
}
