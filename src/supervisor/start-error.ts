/** Why `sallyport up` cannot start, in words for the person who typed it; printed without a stack. */
export class StartError extends Error {
  override readonly name = 'StartError';
}
