/** The ribbon of verdicts with the shapes of events below it, on the axis of the lanes. */

import type { Axis } from "../lanes";
import { h, svg } from "../dom";
import { shape, stateOf } from "../shapes";
import type { EventRow, Segment } from "../types";
import * as words from "../words";

const HEIGHTS: Record<string, number> = { ok: 3, warning: 7, unknown: 9, critical: 13 };
const MAX_SHAPES = 60;

export function bigRibbon(axis: Axis, history: Segment[], events: EventRow[]): HTMLElement {
  const share = (at: number) => Math.max(0, Math.min(1, (at - axis.from) / (axis.until - axis.from)));
  const root = svg("svg", { class: "big-ribbon", viewBox: "0 0 1000 14", preserveAspectRatio: "none", role: "img", "aria-label": `verdicts: ${[...new Set(history.map((segment) => segment.health))].join(", ") || "none on record"}` });
  for (const segment of history) {
    const [left, right] = [share(words.millis(segment.from)) * 1000, share(words.millis(segment.until)) * 1000];
    const height = HEIGHTS[segment.health] ?? 3;
    root.append(svg("rect", { x: left, y: 14 - height, width: Math.max(1, right - left), height, class: `seg ${segment.health}` }));
  }
  const marks = h("div", { class: "event-marks" });
  for (const event of events.filter((each) => each.criticality >= 5).slice(0, MAX_SHAPES)) {
    const mark = h("span", { title: `${event.event_type} ${words.precise(words.millis(event.time))}` }, shape(stateOf(event.criticality), 11));
    mark.style.left = `${share(words.millis(event.time)) * 100}%`;
    marks.append(mark);
  }
  return h("div", { class: "health-row" }, h("div", { class: "axis-label muted" }, "Health and events"), h("div", { class: "ribbon-box" }, root, marks));
}
