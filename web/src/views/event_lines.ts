/** Lines of the list of events: equal events fold, and a line stands before each day. Pure. */

import type { EventRow } from "../types";
import * as words from "../words";

export interface Folded { row: EventRow; n: number }
export type Line = { day: string } | Folded;

/** Time within which equal events of one device fold, in ms. */
const FOLD_MS = 60_000;
/** Lines between two equal events that still fold: others may speak at the same time. */
const FOLD_LINES = 20;

/** Lines of rows, newest first, whose message contains `text`. */
export function linesOf(rows: EventRow[], text: string, now: number): Line[] {
  const wanted = text.toLowerCase();
  const lines: Line[] = [];
  let day = words.date(now);
  let dayAt = 0;
  for (const row of rows) {
    if (wanted && !(row.event_message ?? "").toLowerCase().includes(wanted)) continue;
    const at = words.millis(row.time);
    const own = words.date(at);
    if (own !== day) { lines.push({ day: own }); day = own; dayAt = lines.length; }
    const equal = equalTo(lines, Math.max(dayAt, lines.length - FOLD_LINES), row, at);
    if (equal) equal.n += 1; else lines.push({ row, n: 1 });
  }
  return lines;
}

function equalTo(lines: Line[], from: number, row: EventRow, at: number): Folded | null {
  for (let index = lines.length - 1; index >= from; index -= 1) {
    const line = lines[index];
    if (!line || !("row" in line) || words.millis(line.row.time) - at >= FOLD_MS) return null;
    const { source_device, event_type, criticality } = line.row;
    if (source_device === row.source_device && event_type === row.event_type && criticality === row.criticality) return line;
  }
  return null;
}
