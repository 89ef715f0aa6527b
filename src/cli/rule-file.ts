/** A file with one enrichment rule: the rule itself, a list of one, or an `enrichment:` section with one. */
import { problemLine } from '../config/file.ts';
import { type Problem, pathSteps } from '../config/problems.ts';
import { readYaml } from '../config/yaml-source.ts';
import { fileText } from './arguments.ts';
import { CommandFailed } from './failure.ts';
import { Refused } from './rest.ts';

type Steps = readonly (string | number)[];

export interface RuleFile {
  readonly rule: Readonly<Record<string, unknown>>;
  readonly name: string;
  /** Gives objections of the admin API to the rule their line and column. */
  located<T>(answer: Promise<T>): Promise<T>;
}

/** Reads it, with `${NAME}` filled in; what the rule says is for the gateway to judge. */
export function readRuleFile(file: string): RuleFile {
  const shown = file === '-' ? 'stdin' : file;
  const source = readYaml(fileText(file), process.env);
  if (source.problems.length > 0) {
    throw new CommandFailed(source.problems.map((problem) => problemLine(shown, problem)).join('\n'));
  }
  const { rule, at } = onlyRule(source.content, shown);
  const { name } = rule;
  if (typeof name !== 'string') throw new CommandFailed(`${shown}: the rule needs a "name".`);
  const line = ({ path, message }: Problem): string => {
    const steps = [...at, ...stepsInRule(pathSteps(path), name)];
    return problemLine(shown, source.place({ steps, message, atKey: false }));
  };
  return {
    rule,
    name,
    async located(answer) {
      try {
        return await answer;
      } catch (error) {
        const errors = error instanceof Refused ? (error.problem.errors ?? []) : [];
        if (errors.length === 0) throw error;
        throw new CommandFailed(errors.map(line).join('\n'));
      }
    },
  };
}

function onlyRule(content: unknown, shown: string): { rule: Readonly<Record<string, unknown>>; at: Steps } {
  const section = isObject(content) && 'enrichment' in content ? content.enrichment : content;
  const at: Steps = section === content ? [] : ['enrichment'];
  if (Array.isArray(section)) {
    const [rule] = section;
    if (section.length === 1 && isObject(rule)) return { rule, at: [...at, 0] };
    throw new CommandFailed(
      `${shown}: has ${section.length} rules, and one is expected. "sallyport apply" takes whole files.`,
    );
  }
  if (isObject(section)) return { rule: section, at };
  throw new CommandFailed(`${shown}: expected a rule, or an "enrichment" section with one.`);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The API speaks of `source.query`, of `rule.source.query`, and of `rules.NAME.source.query`. */
function stepsInRule(steps: Steps, name: string): Steps {
  if (steps[0] === 'rules' && steps[1] === name) return steps.slice(2);
  return steps[0] === 'rule' ? steps.slice(1) : steps;
}
