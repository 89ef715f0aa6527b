/** The order in which rules run: the highest priority first, then by name. For `sort`. */
export function inOrder(
  a: { readonly name: string; readonly config: { readonly priority: number } },
  b: { readonly name: string; readonly config: { readonly priority: number } },
): number {
  return b.config.priority - a.config.priority || (a.name < b.name ? -1 : 1);
}
