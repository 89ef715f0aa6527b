/** `sallyport rule dry-run`: what a rule would make of a call. */
import { fileText } from './arguments.ts';
import { CommandFailed, UsageError } from './failure.ts';
import { actingAs } from './persona.ts';
import { readRuleFile } from './rule-file.ts';
import type { Session } from './session.ts';
import { readable, table } from './table.ts';

export interface DryRunOptions {
  readonly name?: string | undefined;
  readonly file?: string;
  readonly call?: string;
  /** JSON text. */
  readonly args?: string;
  readonly response?: string;
  readonly tool?: string;
  readonly namespace: string;
  readonly as?: string;
  readonly withOthers?: boolean;
}

interface Answer {
  readonly diff: string;
  readonly trace: readonly {
    readonly rule: string;
    readonly outcome: string;
    readonly reason?: string;
    readonly source?: string;
    readonly query?: string;
    readonly rows?: number;
    readonly ms: number;
  }[];
  readonly warnings: readonly string[];
}

export async function dryRun(session: Session, options: DryRunOptions): Promise<void> {
  const { name, file } = options;
  if ((name === undefined) === (file === undefined)) throw new UsageError('Name a stored rule, or a draft with -f.');
  const draft = file === undefined ? undefined : readRuleFile(file);
  // One text: parsing the sample would round integers beyond 2^53.
  const body = `{${Object.entries({ rule: JSON.stringify(draft?.rule ?? name), ...callOf(options) })
    .map(([key, text]) => `${JSON.stringify(key)}:${text}`)
    .join(',')}}`;
  const sent = session.rest.postText('/rules/dry-run', body);
  const text = await (draft?.located(sent) ?? sent);
  const answer = JSON.parse(text) as Answer;
  if (session.options.json) process.stdout.write(`${text}\n`);
  else process.stdout.write(`${shown(answer)}\n`);
  if (answer.trace.some(({ outcome }) => outcome === 'failed')) throw new CommandFailed('');
}

/** The members of the body besides `rule`, as JSON texts. */
function callOf(options: DryRunOptions): Record<string, string> {
  const { call, args, response, tool, namespace, withOthers } = options;
  if ((call === undefined) === (response === undefined)) {
    throw new UsageError('Say what to try it on: --call ID of a recorded call, or --response with a sample.');
  }
  const as = actingAs(options.as);
  const principal = as && (as.roles === undefined ? as.principal : { subject: as.principal, roles: as.roles });
  return {
    ...(call !== undefined && { auditId: JSON.stringify(call) }),
    ...(args !== undefined && { args }),
    ...(response !== undefined && { response: jsonOrFile(response) }),
    ...(tool !== undefined && { tool: JSON.stringify(tool) }),
    ...(principal !== undefined && { principal: JSON.stringify(principal) }),
    ...(withOthers && { withOthers: 'true' }),
    namespace: JSON.stringify(namespace),
  };
}

function jsonOrFile(text: string): string {
  if (isJson(text)) return text;
  if (/^\s*[{["]/.test(text)) throw new UsageError('--response is neither JSON nor the name of a file.');
  const content = fileText(text);
  if (isJson(content)) return content;
  throw new CommandFailed(`${text} holds no JSON.`);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function shown({ trace, warnings, diff }: Answer): string {
  const queries = trace.flatMap(({ rule, query }) =>
    query === undefined ? [] : [`${rule} asks:\n${readable(query).replaceAll(/^/gm, '  ')}`],
  );
  return [
    table(
      ['RULE', 'OUTCOME', 'SOURCE', 'ROWS', 'MS', 'WHY'],
      trace.map(({ rule, outcome, source, rows, ms, reason }) => [rule, outcome, source, rows, ms, reason]),
    ),
    ...queries,
    ...warnings.map((warning) => `warning: ${readable(warning)}`),
    diff === '' ? 'The result stays as it is.' : painted(readable(diff.trimEnd())),
  ].join('\n\n');
}

const COLOURS: readonly (readonly [start: RegExp, code: number])[] = [
  [/^(---|\+\+\+) /, 1],
  [/^@@/, 36],
  [/^\+/, 32],
  [/^-/, 31],
];

/** A diff in colours, where somebody looks at it. */
function painted(diff: string): string {
  if (!process.stdout.isTTY || process.env.NO_COLOR) return diff;
  return diff.replaceAll(/^.*$/gm, (line) => {
    const code = COLOURS.find(([start]) => start.test(line))?.[1];
    return code === undefined ? line : `\u001b[${code}m${line}\u001b[0m`;
  });
}
