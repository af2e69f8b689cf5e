/** Times as people type them. Pure: the present is an argument. */

import * as words from "./words";

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const UNITS: Record<string, number> = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
/** Time from which on it is "now", in ms. */
const NOW_MS = 1500;

/** Reads "now", "09:41", "yesterday 09:41", "30 Nov 09:41", "2026-11-30 09:41", an RFC 3339 time, or "6 h ago"; `NaN` if it is none. */
export function parseTime(text: string, now: number): number {
  const plain = text.trim().toLowerCase().replace(/[\u2009\s]+/g, " ");
  if (plain === "" || plain === "now") return now;
  const ago = /^-? ?(\d+(?:\.\d+)?) ?(s|min|h|d)(?: ago)?$/.exec(plain);
  if (ago) return now - Number(ago[1]) * (UNITS[ago[2] ?? ""] ?? NaN);
  if (/^\d{4}-\d\d-\d\dt.*(z|[+-]\d\d:?\d\d)$/.test(plain)) return Date.parse(plain.toUpperCase());
  const clock = /(?:^| |t)(\d{1,2}):(\d\d)(?::(\d\d))?$/.exec(plain);
  const day = dayOf(clock ? plain.slice(0, clock.index) : plain, now);
  if (!day) return NaN;
  const [hours, minutes, seconds] = [1, 2, 3].map((at) => Number(clock?.[at] ?? 0));
  if ((hours ?? 0) > 23 || (minutes ?? 0) > 59 || (seconds ?? 0) > 59) return NaN;
  return new Date(day.getFullYear(), day.getMonth(), day.getDate(), hours, minutes, seconds).getTime();
}

function dayOf(text: string, now: number): Date | null {
  const today = new Date(now);
  const day = (year: number, month: number, date: number) => { const found = new Date(year, month, date); return found.getMonth() === month && found.getDate() === date ? found : null; };
  if (text === "" || text === "today") return today;
  if (text === "yesterday") return new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  const iso = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  if (iso) return day(Number(iso[1]), Number(iso[2]) - 1, Number(iso[3]));
  const named = /^(\d{1,2}) ([a-z]{3})[a-z]*(?: (\d{4}))?$/.exec(text);
  const month = MONTHS.indexOf(named?.[2] ?? "");
  if (!named || month < 0) return null;
  const [date, year] = [Number(named[1]), named[3] ? Number(named[3]) : today.getFullYear()];
  const found = day(year, month, date);
  // Without a year it is the last such day.
  return found && !named[3] && found.getTime() > now ? day(year - 1, month, date) : found;
}

/** Writes a time so that [`parseTime`] reads it. */
export function timeText(at: number, now: number): string {
  if (at >= now - NOW_MS) return "now";
  const text = words.clock(at, now, true).replace(/(\d\d:\d\d):00$/, "$1");
  return /:/.test(text) ? text : `${text} ${words.precise(at).slice(0, 5)}`;
}
