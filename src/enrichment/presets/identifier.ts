/** Identifiers of Trino as text: names cannot be bound. */

/** Any text → an identifier that names exactly that. Not for names with control characters, see `isName`. */
export const quoteIdentifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Whether a table could have that name at all. */
export const isName = (name: string): boolean => name.length > 0 && name.length <= 500 && !/\p{Cc}|\p{Cs}/u.test(name);
