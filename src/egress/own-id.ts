let counted = 0;

/** An id for a request of the gateway's own: no other on any session has it (MCP "Messages", "Requests"). */
export const ownId = (what: string): string => `sallyport-${what}-${++counted}`;
