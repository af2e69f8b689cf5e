/** Devices that are not ok over the range, as stacked steps: it answers "since when". */

import * as api from "../api";
import { app } from "../app";
import { span, windowOf } from "../address";
import { h, svg } from "../dom";
import { dragRange } from "../drag_range";
import type { Fleet } from "../fleet_model";
import { keptAnswer, lasting } from "../spark";
import * as words from "../words";

interface Step { time: string; critical: number; warning: number; unknown: number }

const [WIDTH, HEIGHT] = [430, 46];

export class NotOkChart {
  readonly element = h("figure", { class: "not-ok" });
  private key = "";

  show(fleet: Fleet): void {
    const n = fleet.needy().length;
    const { from, until } = span(app.place.range, api.now());
    const key = JSON.stringify([app.place.range, n, Math.floor(Date.now() / lasting())]);
    if (key === this.key) return;
    this.key = key;
    keptAnswer<{ data: Step[]; cut_off?: string[] }>("fleet_history", windowOf(app.place.range)).then((answer) => this.draw(answer.data, (answer.cut_off ?? []).length > 0, from, until, n, fleet.size)).catch(() => this.element.replaceChildren(h("p", { class: "muted" }, "Devices not ok: could not be read.")));
  }

  private draw(steps: Step[], isCutOff: boolean, from: number, until: number, n: number, size: number): void {
    const most = Math.max(1, n, ...steps.map((step) => step.critical + step.warning + step.unknown));
    const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, preserveAspectRatio: "none", role: "img", "aria-label": `devices not ok over the range, ${n} of ${size} now` },
      svg("defs", {}, svg("pattern", { id: "hatch", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("rect", { width: 1.4, height: 4, class: "seg unknown" }))));
    steps.forEach((step, index) => {
      const x = Math.max(0, ((words.millis(step.time) - from) / (until - from)) * WIDTH);
      const next = steps[index + 1];
      const end = next ? Math.max(0, ((words.millis(next.time) - from) / (until - from)) * WIDTH) : WIDTH;
      let bottom = HEIGHT - 1;
      for (const kind of ["critical", "warning", "unknown"] as const) {
        if (step[kind] === 0) continue;
        const height = Math.max(2, (step[kind] / most) * (HEIGHT - 6));
        bottom -= height;
        root.append(svg("rect", { x, y: bottom, width: Math.max(0.5, end - x), height, class: `seg ${kind}`, ...(kind === "unknown" ? { fill: "url(#hatch)" } : {}) }));
      }
    });
    root.append(svg("path", { d: `M0 ${HEIGHT - 0.5}H${WIDTH}`, class: "axis-line" }));
    dragRange(root, [WIDTH, HEIGHT], from, until);
    const ticks = [0.125, 0.375, 0.625, 0.875].map((share) => {
      const label = h("span", { class: "num" }, words.clock(from + share * (until - from), api.now()).replace("yesterday ", ""));
      label.style.left = `${share * 100}%`;
      return label;
    });
    this.element.replaceChildren(
      h("figcaption", { class: "muted" }, h("span", null, isCutOff ? "Devices not ok, older verdicts not read" : "Devices not ok"), h("span", { class: "num" }, `${words.whole(n)} of ${words.whole(size)} now`)),
      root, h("div", { class: "ticks faint" }, ...ticks),
    );
  }
}
