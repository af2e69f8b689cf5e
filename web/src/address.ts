/** The address holds the state of the page: view, range, filters, choice. Defaults are left out. */

export type View = "fleet" | "device" | "events" | "pipeline" | "ask";

export interface Place {
  view: View;
  /** Name of the device, or the type of the question. */
  subject: string;
  /** Parameters without those of the range. */
  options: Record<string, string>;
  range: Range;
}

/** A range that ends now, in minutes, or one between two times in milliseconds. */
export type Range = { minutes: number } | { from: number; until: number };

export const RANGES: { key: string; minutes: number; word: string }[] = [
  { key: "15m", minutes: 15, word: "Last 15 min" }, { key: "1h", minutes: 60, word: "Last hour" },
  { key: "6h", minutes: 360, word: "Last 6 h" }, { key: "24h", minutes: 1440, word: "Last 24 h" },
  { key: "7d", minutes: 10_080, word: "Last 7 d" }, { key: "30d", minutes: 43_200, word: "Last 30 d" },
  { key: "all", minutes: 5_256_000, word: "All" },
];
export const DEFAULT_MINUTES = 1440;
const OPTIONS = ["group", "colour", "order", "view", "state", "type", "min", "q", "sel", "device", "metric", "columns"];

/** Reads an address; anything not understood is the default. */
export function parse(path: string, search: string): Place {
  const [first = "", ...rest] = path.split("/").filter((part) => part !== "").map(decode);
  const params = new URLSearchParams(search);
  const options: Record<string, string> = {};
  const isAsk = first === "ask";
  for (const [key, text] of params) {
    if ((isAsk && key !== "t") || OPTIONS.includes(key)) options[key] = text;
  }
  const view = first === "" ? "fleet" : (["device", "events", "pipeline", "ask"] as const).find((name) => name === first) ?? "fleet";
  return { view, subject: rest.join("/"), options, range: isAsk ? { minutes: DEFAULT_MINUTES } : range(params) };
}

function decode(part: string): string {
  try { return decodeURIComponent(part); } catch { return part; }
}

function range(params: URLSearchParams): Range {
  const [from, until] = [Date.parse(params.get("from") ?? ""), Date.parse(params.get("to") ?? "")];
  if (from < until) return { from, until };
  const named = RANGES.find((each) => each.key === params.get("t"));
  if (named) return { minutes: named.minutes };
  const minutes = Number(/^(\d{1,7})min$/.exec(params.get("t") ?? "")?.[1]);
  return { minutes: minutes >= 1 ? minutes : DEFAULT_MINUTES };
}

/** Writes an address that [`parse`] reads. */
export function format(place: Place): string {
  const path = place.view === "fleet" ? "/" : place.subject === "" ? `/${place.view}` : `/${place.view}/${encodeURIComponent(place.subject)}`;
  const params = new URLSearchParams();
  // The fields of a question say its time.
  if (place.view !== "ask") writeRange(place.range, params);
  for (const [key, text] of Object.entries(place.options)) if (text !== "") params.set(key, text);
  const search = params.toString();
  return search === "" ? path : `${path}?${search}`;
}

function writeRange(range: Range, params: URLSearchParams): void {
  if ("from" in range) {
    params.set("from", new Date(range.from).toISOString());
    params.set("to", new Date(range.until).toISOString());
  } else if (range.minutes !== DEFAULT_MINUTES) {
    params.set("t", RANGES.find((each) => each.minutes === range.minutes)?.key ?? `${range.minutes}min`);
  }
}

/** Ends of a range in milliseconds. */
export function span(range: Range, now: number): { from: number; until: number } {
  return "from" in range ? range : { from: now - range.minutes * 60_000, until: now };
}

export function rangeWord(range: Range, clock: (at: number) => string): string {
  if ("from" in range) {
    const [from, until] = [clock(range.from), clock(range.until)];
    // The day of the end is said if it is another one.
    const [, day = "", time = until] = /^(.+ )(\d+:\d+)$/.exec(until) ?? [];
    return `${from} to ${from.startsWith(day) ? time : until}`;
  }
  return RANGES.find((each) => each.minutes === range.minutes)?.word ?? `Last ${range.minutes} min`;
}

/** Parameters of a query over the range. */
export function windowOf(range: Range): Record<string, string | number> {
  return "from" in range
    ? { from: new Date(range.from).toISOString(), until: new Date(range.until).toISOString() }
    : { since_minutes: range.minutes };
}
