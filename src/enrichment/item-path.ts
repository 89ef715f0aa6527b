/** A path into the element of a rule with `forEach`: `$.item.id`, `$['item']`. It gives a value for each element. */
const ITEM = /^\$\s*(\.\s*item\b|\[\s*['"]item['"]\s*\])/;

export const isItemPath = (path: string): boolean => ITEM.test(path);
