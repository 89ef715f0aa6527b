/** Why a command ended with 1; the text is for the person at the terminal. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
}

/** Why a command ended with 2: it was called in a way that it does not understand. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
