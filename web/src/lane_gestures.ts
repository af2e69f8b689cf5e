/** Gestures on a lane beside the drag that zooms: shift-drag pans, Ctrl and the wheel zoom, two fingers too; a long press
 * moves the cursor, a double click leads back. */

import type uPlot from "uplot";
import { app } from "./app";
import { zoomed } from "./lane_data";
import type { Axis } from "./lane_data";

const LONG_PRESS_MS = 350;

type Zoom = (from: number, until: number) => void;

export function gestures(holder: HTMLElement, plot: () => uPlot | null, axis: () => Axis, onZoom: Zoom): void {
  /** Place on the axis, from 0 to 1. */
  const place = (clientX: number) => { const over = plot()?.over.getBoundingClientRect(); return over && over.width > 0 ? (clientX - over.left) / over.width : 0; };
  pan(holder, place, axis, onZoom);
  touch(holder, plot, place, axis, onZoom);
  holder.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    onZoom(...zoomed(axis(), place(event.clientX), event.deltaY > 0 ? 1.25 : 0.8));
  }, { passive: false });
  holder.addEventListener("dblclick", () => app.go({ range: app.home }));
}

function pan(holder: HTMLElement, place: (x: number) => number, axis: () => Axis, onZoom: Zoom): void {
  // Before uPlot hears of it: with shift held the drag is no selection.
  holder.addEventListener("mousedown", (event) => {
    if (!event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const [start, { from, until }] = [place(event.clientX), axis()];
    holder.classList.add("panning");
    const end = (last: MouseEvent) => {
      removeEventListener("mouseup", end);
      holder.classList.remove("panning");
      const by = (start - place(last.clientX)) * (until - from);
      if (Math.abs(by) > (until - from) / 200) onZoom(from + by, until + by);
    };
    addEventListener("mouseup", end);
  }, { capture: true });
}

function touch(holder: HTMLElement, plot: () => uPlot | null, place: (x: number) => number, axis: () => Axis, onZoom: Zoom): void {
  let timer = 0;
  let isCursor = false;
  let pinch: { places: [number, number]; axis: Axis } | null = null;
  const ends = (touches: TouchList): [number, number] => { const [a, b] = [place(touches[0]?.clientX ?? 0), place(touches[1]?.clientX ?? 0)]; return a < b ? [a, b] : [b, a]; };
  const move = (clientX: number) => { const over = plot()?.over; if (over) plot()?.setCursor({ left: place(clientX) * over.clientWidth, top: 10 }); };
  holder.addEventListener("touchstart", (event) => {
    clearTimeout(timer);
    if (event.touches.length === 2) { pinch = { places: ends(event.touches), axis: axis() }; isCursor = false; return; }
    const x = event.touches[0]?.clientX ?? 0;
    timer = window.setTimeout(() => { isCursor = true; move(x); }, LONG_PRESS_MS);
  }, { passive: true });
  holder.addEventListener("touchmove", (event) => {
    if (pinch || isCursor) event.preventDefault(); else clearTimeout(timer);
    if (isCursor) move(event.touches[0]?.clientX ?? 0);
    if (pinch && event.touches.length === 2) {
      const [a, b] = ends(event.touches);
      const [from, until] = pinch.places;
      const length = pinch.axis.until - pinch.axis.from;
      const factor = (until - from) / Math.max(0.02, b - a);
      const start = pinch.axis.from + from * length - a * length * factor;
      if (Math.abs(factor - 1) > 0.05) wanted = [start, start + length * factor];
    }
  }, { passive: false });
  let wanted: [number, number] | null = null;
  const end = (event: TouchEvent) => {
    clearTimeout(timer);
    if (isCursor) { isCursor = false; event.preventDefault(); } else if (!pinch) plot()?.setCursor({ left: -10, top: -10 });
    if (event.touches.length > 0) return;
    pinch = null;
    if (wanted) onZoom(...wanted);
    wanted = null;
  };
  holder.addEventListener("touchend", end);
  holder.addEventListener("touchcancel", end);
}
