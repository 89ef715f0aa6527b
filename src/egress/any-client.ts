/**
 * What some client of the gateway may be able to do. Declared where the gateway asks for lists on behalf of all of them:
 * servers list some tools only to clients that can answer their questions, and what is not listed cannot be called.
 */
export const ANY_CLIENT = {
  roots: { listChanged: true },
  sampling: { context: {}, tools: {} },
  elicitation: { form: {}, url: {} },
  extensions: { 'io.modelcontextprotocol/ui': { mimeTypes: ['text/html;profile=mcp-app'] } },
} as const;
