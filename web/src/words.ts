/** Numbers, times and names as people read them (design page, section 13). Pure: the present is an argument. */

const THIN = "\u2009";
const DASH = "–";
const SMALL = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/** A count in a sentence: words up to twelve. */
export function count(n: number): string {
  return SMALL[n] ?? whole(n);
}

/** A count with its noun: "three drives", "one drive". */
export function counted(n: number, noun: string): string {
  return `${count(n)} ${n === 1 ? noun : plural(noun)}`;
}

export function plural(noun: string): string {
  return /[^aeiou]y$/.test(noun) ? `${noun.slice(0, -1)}ies` : `${noun}s`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A whole number, with thin spaces from five digits on. */
export function whole(n: number): string {
  const text = String(Math.round(Math.abs(n)));
  const grouped = text.length < 5 ? text : text.replace(/\B(?=(\d{3})+$)/g, THIN);
  return (n < 0 ? "−" : "") + grouped;
}

/** A number with three significant digits, without a unit. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e15 || size < 1e-3) return value.toExponential(1).replace("e+", "e").replace("-", "−");
  for (const [limit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e5, "k"]] as const) {
    if (size >= limit) return `${fixed(value / (letter === "k" ? 1e3 : limit), 3)}${THIN}${letter}`;
  }
  return size >= 1000 ? whole(value) : fixed(value, 3);
}

/** At most `digits` significant digits, without trailing zeros behind the point. */
function fixed(value: number, digits: number): string {
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  const text = value.toFixed(Math.min(decimals, 6));
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");
}

/** A value of a metric; how many digits depends on the unit. */
export function value(n: number | null | undefined, unit: string | null | undefined, place: "cell" | "lane" = "lane"): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
  switch (unit) {
    case "°C": return n.toFixed(place === "cell" ? 0 : 1).replace("-", "−");
    case "%": return n.toFixed(0);
    case "ms": return Math.abs(n) >= 100 ? number(n) : n.toFixed(Math.abs(n) < 1 ? 2 : 1);
    default: return number(n);
  }
}

/** A duration in seconds, in at most two units. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const pair = (big: number, one: string, small: number, two: string) => {
    const [n, rest] = [Math.floor(s / big), Math.floor((s % big) / small)];
    return rest === 0 ? `${n}${THIN}${one}` : `${n}${THIN}${one} ${rest}${THIN}${two}`;
  };
  if (s < 60) return `${s}${THIN}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${THIN}min`;
  if (s < 86_400) return pair(3600, "h", 60, "min");
  if (s < 365 * 86_400) return s < 30 * 86_400 ? pair(86_400, "d", 3600, "h") : `${Math.floor(s / 86_400)}${THIN}d`;
  return pair(365 * 86_400, "y", 30 * 86_400, "mon");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n: number) => String(n).padStart(2, "0");

/** A time of day, with its day unless that is today. */
export function clock(at: number, now: number, withSeconds = false): string {
  const [date, today] = [new Date(at), new Date(now)];
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}` : ""}`;
  const day = (d: Date) => Math.round(new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime() / 86_400_000);
  const days = day(today) - day(date);
  if (days === 0) return time;
  if (days === 1) return `yesterday ${time}`;
  const name = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  return date.getFullYear() === today.getFullYear() ? `${name} ${time}` : `${name} ${date.getFullYear()}`;
}

/** The time of an event, with milliseconds. */
export function precise(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function date(at: number): string {
  const d = new Date(at);
  return `${d.getDate()} ${MONTHS[d.getMonth()]} ${d.getFullYear()}`;
}

/** The zone of this browser: "UTC+1". */
export function zone(at: number): string {
  const minutes = -new Date(at).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest === 0 ? "" : `:${two(rest)}`}`;
}

/** RFC 3339 to milliseconds; `NaN` if it is no time. */
export function millis(text: string | null | undefined): number {
  return text ? Date.parse(text.replace(/(\.\d{3})\d+/, "$1")) : NaN;
}

/** A name from the bus: control and bidirectional characters show as escapes, so that none can pose as another. */
export function name(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A name cut in its middle. */
export function short(text: string, length: number): string {
  const letters = Array.from(name(text));
  if (letters.length <= length) return letters.join("");
  const head = Math.ceil((length - 1) / 2);
  return `${letters.slice(0, head).join("")}…${letters.slice(letters.length - (length - 1 - head)).join("")}`;
}

/** "DiskTemp" → "Temperature", "smart_5_raw" → "SMART 5 raw", "IOPs" → "Operations". */
export function metric(type: string): string {
  const known: Record<string, string> = {
    DiskTemp: "Temperature", IOPs: "Operations", CapacityUsed: "Used capacity", Latency: "Latency", Throughput: "Throughput",
    Utilization: "Utilization", ErrorRate: "Error rate",
  };
  if (known[type]) return known[type];
  const spaced = name(type).replace(/_/g, " ").replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z])([A-Z][a-z])/g, "$1 $2").replace(/^smart /i, "SMART ");
  return spaced.startsWith("SMART") ? spaced : capital(spaced.split(" ").map((word) => (/^[A-Z]{2,}/.test(word) ? word : word.toLowerCase())).join(" "));
}

/** A reason without what stands beside it anyway, the event type and the time; other times as the clock shows them here. */
export function reason(text: string, now: number): string {
  return localTimes(name(text).replace(/^[A-Za-z]\w* at \d{4}-\d\d-\d\dT[\d:.]+Z: /, ""), now);
}

/** A text with its times (RFC 3339) as the clock shows them here. */
export function localTimes(text: string, now: number): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (time) => clock(millis(time), now, true));
}

/** The message of an event; the verdicts of the detector have their times as the clock shows them here. */
export function message(event: { event_type: string; event_message: string | null }, now: number): string {
  const text = name(event.event_message ?? "");
  return event.event_type === "HealthChanged" ? localTimes(text, now) : text;
}

/** A place from labels: "enclosure-02, bay 17", else the host. */
export function place(labels: Record<string, string | undefined>): string {
  const parts = [labels.enclosure && name(labels.enclosure), labels.bay && `bay ${name(labels.bay)}`].filter(Boolean);
  if (parts.length > 0) return parts.join(", ");
  return labels.host ? name(labels.host) : "";
}
