import { existsSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { packageRoot } from '../package-root.ts';

/**
 * Message types by full name, from the lean definitions in proto/. A package lives in the file of its own path
 * (`envoy.type.v3` in envoy/type/v3.proto), so a process parses only the files it uses.
 * `undefined`: proto/ has no such message.
 */
export function messageType(fullName: string): protobuf.Type | undefined {
  const known = types.get(fullName);
  if (known !== undefined) return known;
  const packagePath = fullName.split('.').filter((part) => /^[a-z]/.test(part));
  const file = join(packageRoot, 'proto', `${packagePath.join('/')}.proto`);
  if (!existsSync(file)) return undefined;
  root.loadSync(file, { keepCase: true }).resolveAll();
  const found = root.lookup(fullName, [protobuf.Type]) as protobuf.Type | null;
  if (found === null) return undefined;
  types.set(fullName, found);
  return found;
}

/** Like `messageType`, for names that this program itself writes. */
export function requiredType(fullName: string): protobuf.Type {
  const type = messageType(fullName);
  if (type === undefined) throw new Error(`proto/ does not define ${fullName}`);
  return type;
}

const types = new Map<string, protobuf.Type>();
const root = new protobuf.Root();
// google/protobuf/* is bundled with protobufjs. The rules' own definition is not needed to read them as options.
root.resolvePath = (_origin, target) => {
  if (target === 'validate/validate.proto') return null;
  return target.startsWith('/') ? target : join(packageRoot, 'proto', target);
};
