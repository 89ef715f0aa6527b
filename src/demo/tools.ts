import { randomInt, randomUUID } from 'node:crypto';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';

/** None of the tools changes or reaches anything. */
const HARMLESS = { readOnlyHint: true, destructiveHint: false, openWorldHint: false };

/** Small tools that any agent understands at once; between them they show text, numbers, structure and errors. */
export function addTools(server: McpServer): void {
  server.registerTool(
    'echo',
    {
      title: 'Echo',
      description: 'Returns the message unchanged. Useful to see that calls arrive.',
      inputSchema: { message: z.string().max(100_000).describe('What to say back') },
      annotations: { ...HARMLESS, idempotentHint: true },
    },
    ({ message }) => ({ content: [{ type: 'text', text: message }] }),
  );

  server.registerTool(
    'add',
    {
      title: 'Add numbers',
      description: 'Adds two or more numbers.',
      inputSchema: { numbers: z.array(z.number()).min(2).max(1000).describe('The numbers to add') },
      outputSchema: { sum: z.number() },
      annotations: { ...HARMLESS, idempotentHint: true },
    },
    ({ numbers }) => structured({ sum: numbers.reduce((sum, number) => sum + number, 0) }),
  );

  server.registerTool(
    'now',
    {
      title: 'Current time',
      description: 'The current date and time in a time zone.',
      inputSchema: {
        timeZone: z.string().max(64).default('UTC').describe('An IANA name such as Europe/Berlin or America/New_York'),
      },
      outputSchema: { timeZone: z.string(), date: z.string(), time: z.string(), weekday: z.string(), utc: z.string() },
      annotations: HARMLESS,
    },
    ({ timeZone }) => {
      const moment = new Date();
      const local = localTime(moment, timeZone);
      if (!local) return failed(`There is no time zone "${timeZone}". Use an IANA name such as Europe/Berlin.`);
      return structured({ timeZone, ...local, utc: moment.toISOString() });
    },
  );

  server.registerTool(
    'uuid',
    {
      title: 'Random UUIDs',
      description: 'Makes up random (version 4) UUIDs.',
      inputSchema: { count: z.number().int().min(1).max(100).default(1).describe('How many') },
      outputSchema: { uuids: z.array(z.string()) },
      annotations: HARMLESS,
    },
    ({ count }) => structured({ uuids: Array.from({ length: count }, () => randomUUID()) }),
  );

  server.registerTool(
    'roll_dice',
    {
      title: 'Roll dice',
      description: 'Rolls dice and adds them up.',
      inputSchema: {
        dice: z.number().int().min(1).max(100).default(1).describe('How many dice'),
        sides: z.number().int().min(2).max(1000).default(6).describe('How many sides each has'),
      },
      outputSchema: { rolls: z.array(z.number()), total: z.number() },
      annotations: HARMLESS,
    },
    ({ dice, sides }) => {
      const rolls = Array.from({ length: dice }, () => randomInt(1, sides + 1));
      return structured({ rolls, total: rolls.reduce((sum, roll) => sum + roll, 0) });
    },
  );
}

/** A structured result, and as text for clients that know no other. MCP 2025-06-18, "Structured Content". */
function structured(value: Record<string, unknown>) {
  return { structuredContent: value, content: [{ type: 'text' as const, text: JSON.stringify(value) }] };
}

function failed(text: string) {
  return { isError: true, content: [{ type: 'text' as const, text }] };
}

function localTime(moment: Date, timeZone: string): { date: string; time: string; weekday: string } | undefined {
  try {
    // Swedish formats dates as ISO 8601 does.
    const [date = '', time = ''] = moment.toLocaleString('sv-SE', { timeZone }).split(' ');
    return { date, time, weekday: moment.toLocaleString('en-GB', { timeZone, weekday: 'long' }) };
  } catch {
    return undefined;
  }
}
