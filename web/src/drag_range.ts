/** A drag over a drawing chooses a range; what it will be is shown. */

import { app } from "./app";
import { svg } from "./dom";

/** `width` and `height` are those of the drawing's own units; `from` and `until` its ends in ms. */
export function dragRange(root: SVGElement, [width, height]: [number, number], from: number, until: number): void {
  const mark = svg("rect", { y: 0, height, class: "chosen-range", width: 0 });
  root.append(mark);
  let start: number | null = null;
  const at = (event: PointerEvent) => { const box = root.getBoundingClientRect(); return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)); };
  const ends = (event: PointerEvent): [number, number] => { const end = at(event); return start === null ? [end, end] : [Math.min(start, end), Math.max(start, end)]; };
  root.addEventListener("pointerdown", (event) => { start = at(event); root.setPointerCapture(event.pointerId); });
  root.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const [a, b] = ends(event);
    mark.setAttribute("x", String(a * width));
    mark.setAttribute("width", String((b - a) * width));
  });
  root.addEventListener("pointercancel", () => { start = null; mark.setAttribute("width", "0"); });
  root.addEventListener("pointerup", (event) => {
    const [a, b] = ends(event);
    start = null;
    mark.setAttribute("width", "0");
    const time = (share: number) => Math.round(from + share * (until - from));
    if (b - a > 1 / 200) app.go({ range: { from: time(a), until: time(b) } }, "replace");
  });
}
