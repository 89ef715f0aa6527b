/** What is wrong with a statement, and where. Lines and columns start at 1; columns count code points. */
export interface SqlFault {
  readonly line: number;
  readonly column: number;
  /** Says what to do. */
  readonly message: string;
}

/** `line L, column C: …`, as it stands in a TemplateFault. */
export function faultText({ line, column, message }: SqlFault): string {
  return `line ${line}, column ${column}: ${message}`;
}

/** `offset`: UTF-16, of the offence in `text`. Lines end with LF, CR LF or CR. */
export function faultAt(text: string, offset: number, message: string): SqlFault {
  const before = text.slice(0, offset).split(/\r\n|\n|\r/);
  return { line: before.length, column: [...(before.at(-1) ?? '')].length + 1, message };
}
