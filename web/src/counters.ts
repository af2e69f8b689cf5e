/** Counters of the program: the text format of Prometheus, two readings of it, and the rates between. Pure. */

export interface Reading {
  /** Time in ms. */
  at: number;
  values: Map<string, number>;
}

/** Reads the text format; a key is the line up to its value. */
export function read(text: string, at: number): Reading {
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.lastIndexOf(" ");
    const value = Number(line.slice(space + 1));
    if (space > 0 && Number.isFinite(value)) values.set(line.slice(0, space), value);
  }
  return { at, values };
}

/** Sum of all values of a metric whose labels contain `label`; `null` if there is none. */
export function sum(reading: Reading, name: string, label = ""): number | null {
  let [total, found] = [0, false];
  for (const [key, value] of reading.values) {
    if ((key === name || key.startsWith(`${name}{`)) && key.includes(label)) { total += value; found = true; }
  }
  return found ? total : null;
}

/** Increase per second between two readings; `null` if a counter is missing or has begun again. */
export function rate(before: Reading, after: Reading, name: string, label = ""): number | null {
  const [a, b] = [sum(before, name, label) ?? 0, sum(after, name, label)];
  const seconds = (after.at - before.at) / 1000;
  return b === null || seconds <= 0 || b < a ? null : (b - a) / seconds;
}

/** Quantile of what a histogram counted between two readings, in seconds: the upper end of its bucket. */
export function quantile(before: Reading | null, after: Reading, name: string, share: number): number | null {
  const buckets = [...after.values].filter(([key]) => key.startsWith(`${name}_bucket`)).map(([key, value]) => ({ le: Number(/le="([^"]+)"/.exec(key)?.[1]?.replace("+Inf", "Infinity")), n: value - (before?.values.get(key) ?? 0) }));
  const ends = new Map<number, number>();
  for (const { le, n } of buckets) ends.set(le, (ends.get(le) ?? 0) + n);
  const sorted = [...ends].sort((a, b) => a[0] - b[0]);
  const total = sorted[sorted.length - 1]?.[1] ?? 0;
  if (total <= 0) return null;
  const [le] = sorted.find(([, n]) => n >= share * total) ?? [NaN];
  return Number.isFinite(le) ? le : null;
}
