/** The results that enrichment is measured on: one order of about 2 KiB, and a thousand short ones. */

/** How many elements the long list has. */
export const ORDER_COUNT = 1000;

const LINES = Array.from({ length: 8 }, (_, index) => ({
  sku: `SKU-${100 + index}`,
  description: `Part ${index} of the order, as the warehouse calls it`,
  quantity: index + 1,
}));

/** `text`: what the caller sent; a load generator looks for it. */
export function order(text: string): string {
  return toolResult({ order_id: 17, customer_id: 42, kind: 'order', note: text, lines: LINES });
}

export function orders(text: string): string {
  const all = Array.from({ length: ORDER_COUNT }, (_, index) => ({ order_id: index, customer_id: index + 1 }));
  return toolResult({ note: text, orders: all });
}

/** As servers do it: the structured content, and the same as text for clients that know nothing else. */
function toolResult(structured: object): string {
  const json = JSON.stringify(structured);
  return `{"content":[{"type":"text","text":${JSON.stringify(json)}}],"structuredContent":${json}}`;
}
