/** Shapes of the states, as SVG and on a canvas. Each differs in outline and ink, so none needs its colour. */

import { svg } from "./dom";
import type { State } from "./types";

export const WORDS: Record<State, string> = {
  critical: "critical", warning: "warning", silent: "silent", unknown: "unknown", asleep: "asleep", ok: "ok",
};
/** Worst first. */
export const STATES: State[] = ["critical", "warning", "silent", "unknown", "asleep", "ok"];
export const MEANINGS: Record<State, string> = {
  critical: "act now", warning: "worth a look", silent: "overdue: unknown", unknown: "heard, but not understood",
  asleep: "spun down, as it said", ok: "heard, as expected",
};

const DIAMOND = "M8 .4 15.6 8 8 15.6 .4 8Z";
const TRIANGLE = "M8 1.9 14.6 14.4H1.4Z";

/** Draws a state; from 18 px on with its mark. */
export function shape(state: State, size = 14, isAcknowledged = false): SVGElement {
  const root = svg("svg", { viewBox: "0 0 16 16", width: size, height: size, class: `shape ${state}`, "aria-hidden": "true" });
  const isLarge = size >= 18;
  const outline = { fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linejoin": "round" };
  const solid = { fill: "currentColor" };
  const paint = isAcknowledged ? outline : solid;
  const mark = { stroke: "var(--bg)", "stroke-width": 1.5, "stroke-linecap": "round", fill: "none" };
  switch (state) {
    case "critical":
      root.append(svg("path", { d: isAcknowledged ? "M8 1.6 14.4 8 8 14.4 1.6 8Z" : DIAMOND, ...paint }));
      if (isLarge && !isAcknowledged) root.append(svg("path", { d: "M8 4.6V8.4M8 11v.05", ...mark }));
      break;
    case "warning":
      root.append(svg("path", { d: TRIANGLE, "stroke-linejoin": "round", ...(isAcknowledged ? outline : { ...solid, stroke: "currentColor", "stroke-width": 1 }) }));
      if (isLarge && !isAcknowledged) root.append(svg("path", { d: "M8 6.2V9.6M8 12v.05", ...mark }));
      break;
    case "silent":
    case "unknown":
      root.append(svg("circle", { cx: 8, cy: 8, r: 5.4, fill: "none", stroke: "currentColor", "stroke-width": 1.9, "stroke-dasharray": "3.4 2.25" }));
      if (state === "unknown") root.append(svg("circle", { cx: 8, cy: 8, r: 1.4, ...solid }));
      break;
    case "asleep":
      root.append(svg("rect", { x: 1.8, y: 7, width: 12.4, height: 2, rx: 1, ...solid }));
      break;
    case "ok":
      if (isLarge) {
        root.append(svg("circle", { cx: 8, cy: 8, r: 7, ...solid }), svg("path", { d: "M4.9 8.2 7.2 10.5 11.2 5.8", ...mark }));
      } else root.append(svg("circle", { cx: 8, cy: 8, r: 3.4, ...solid }));
  }
  return root;
}

/** Draws a state on a canvas, centred, in the current fill and stroke style. `size` is that of the 16-unit box. */
export function paintShape(context: CanvasRenderingContext2D, state: State, x: number, y: number, size: number, isAcknowledged = false): void {
  const unit = size / 16;
  context.beginPath();
  context.setLineDash([]);
  switch (state) {
    case "critical":
      context.moveTo(x, y - 7.6 * unit); context.lineTo(x + 7.6 * unit, y); context.lineTo(x, y + 7.6 * unit); context.lineTo(x - 7.6 * unit, y); context.closePath();
      break;
    case "warning":
      context.moveTo(x, y - 6.3 * unit); context.lineTo(x + 6.9 * unit, y + 6.3 * unit); context.lineTo(x - 6.9 * unit, y + 6.3 * unit); context.closePath();
      break;
    case "silent":
    case "unknown":
      context.lineWidth = Math.max(1, 1.9 * unit);
      context.setLineDash([3.4 * unit, 2.25 * unit]);
      context.arc(x, y, 5.4 * unit, 0, 2 * Math.PI);
      context.stroke();
      context.setLineDash([]);
      if (state === "unknown") { context.beginPath(); context.arc(x, y, 1.4 * unit, 0, 2 * Math.PI); context.fill(); }
      return;
    case "asleep":
      context.fillRect(x - 6.2 * unit, y - unit, 12.4 * unit, 2 * unit);
      return;
    case "ok":
      context.arc(x, y, 3.4 * unit, 0, 2 * Math.PI);
  }
  if (isAcknowledged) { context.lineWidth = Math.max(1.2, 1.8 * unit); context.stroke(); } else context.fill();
}

/** Returns the shape of an event by its criticality. */
export function stateOf(criticality: number): State {
  return criticality >= 8 ? "critical" : criticality >= 5 ? "warning" : "ok";
}

/** Draws one of the small marks of the frame. */
export function icon(name: keyof typeof ICONS, size = 16): SVGElement {
  return svg("svg", { viewBox: "0 0 16 16", width: size, height: size, fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }));
}

const ICONS = {
  find: "M7 2a5 5 0 1 0 0 10A5 5 0 0 0 7 2M11 11l3.2 3.2", clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 4.6V8l2.2 1.6",
  down: "M4.5 6.5 8 10l3.5-3.5", left: "M9.5 4 5.5 8l4 4", right: "M6.5 4l4 4-4 4", copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3", arrow: "M2.5 8h10M9 4.5 12.5 8 9 11.5",
  pause: "M5.5 3.5v9M10.5 3.5v9", play: "M5 3.2v9.6L12.5 8z", theme: "M8 1.8a6.2 6.2 0 0 0 0 12.4zM8 1.8a6.2 6.2 0 0 1 0 12.4",
  fleet: "M2 3h3v3H2zM6.5 3h3v3h-3zM11 3h3v3h-3zM2 9h3v3H2zM6.5 9h3v3h-3zM11 9h3v3h-3z", events: "M2 4h2M2 8h2M2 12h2M6.5 4H14M6.5 8H14M6.5 12H14", pipeline: "M3.5 8h9M3 6.2v3.6M13 6.2v3.6",
  ask: "M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .9-1 1.6M8 12.4v.05", close: "M4 4l8 8M12 4l-8 8", minus: "M3.5 8h9", more: "M3.5 8h.05M8 8h.05M12.5 8h.05",
} as const;

/** The mark of Spindle: an open ring, a hub, an arm. */
export function mark(): SVGElement {
  return svg("svg", { viewBox: "0 0 22 22", width: 22, height: 22, fill: "none", stroke: "currentColor", "stroke-width": 2.2, "stroke-linecap": "round", "aria-hidden": "true" },
    svg("path", { d: "M18.9 8.2A8.6 8.6 0 1 1 14.4 3.2" }), svg("circle", { cx: 11, cy: 11, r: 1.6, fill: "currentColor", stroke: "none" }), svg("path", { d: "M13.2 9.4 17 6.2" }));
}
