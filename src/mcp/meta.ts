/** `params._meta` of a request: how a modern message describes itself, and the progress token of either era. */
import { type Span, stringAt, walkObject } from './json.ts';
import { META } from './revision.ts';

export interface RequestMeta extends Span {
  /** The protocol version is there, whatever it is: that makes a message modern. */
  readonly claimsModern: boolean;
  /** undefined: absent, or not a string. */
  readonly protocolVersion: string | undefined;
  /** undefined: absent, or not an object. */
  readonly capabilities: Span | undefined;
  readonly clientInfo: Span | undefined;
  readonly logLevel: string | undefined;
  /** As the client wrote it, quotes included. */
  readonly progressToken: Span | undefined;
}

/** Reads the object at `start`. Throws JsonError for a key that comes twice. */
export function readMeta(bytes: Buffer, start: number, end: number): RequestMeta {
  let claimsModern = false;
  let protocolVersion: string | undefined;
  let capabilities: Span | undefined;
  let clientInfo: Span | undefined;
  let logLevel: string | undefined;
  let progressToken: Span | undefined;
  walkObject(bytes, start, 2, (key, from, to) => {
    const isText = bytes[from] === 0x22;
    const isObject = bytes[from] === 0x7b;
    switch (key) {
      case 'progressToken':
        progressToken = { start: from, end: to };
        break;
      case META.protocolVersion:
        claimsModern = true;
        if (isText) protocolVersion = stringAt(bytes, from, to);
        break;
      case META.clientCapabilities:
        if (isObject) capabilities = { start: from, end: to };
        break;
      case META.clientInfo:
        if (isObject) clientInfo = { start: from, end: to };
        break;
      case META.logLevel:
        if (isText) logLevel = stringAt(bytes, from, to);
        break;
    }
  });
  return { start, end, claimsModern, protocolVersion, capabilities, clientInfo, logLevel, progressToken };
}
