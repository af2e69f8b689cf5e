/** Four small curves of the whole fleet: operations, throughput, latency and temperature, each with its worst. */

import * as api from "../api";
import { app } from "../app";
import { span, windowOf } from "../address";
import { h, svg } from "../dom";
import type { Fleet } from "../fleet_model";
import { keptAnswer, lasting } from "../spark";
import * as words from "../words";

interface FleetBucket { time: string; sum: number; median: number; max: number; max_device: string }
interface FleetSeries { data: FleetBucket[]; unit: string | null; bucket_seconds: number }

const CURVES = [
  { metric: "IOPs", word: "Operations", kind: "sum" }, { metric: "ReadThroughput", word: "Read throughput", kind: "sum" },
  { metric: "Latency", word: "Latency", kind: "median", worst: "worst" }, { metric: "DiskTemp", word: "Temperature", kind: "median", worst: "hottest" },
] as const;
const POINTS = 100;

export class Pulse {
  readonly element = h("div", { class: "pulse" });
  private key = "";

  show(fleet: Fleet): void {
    const key = JSON.stringify([app.place.range, Math.floor(Date.now() / lasting()), fleet.size]);
    if (key === this.key) return;
    this.key = key;
    const { from, until } = span(app.place.range, api.now());
    const bucket = Math.max(60, Math.ceil((until - from) / 1000 / POINTS));
    void Promise.all(CURVES.map((curve) => keptAnswer<FleetSeries>("fleet_series", { metric_type: curve.metric, bucket_seconds: bucket, ...windowOf(app.place.range) })
      .then((answer) => (answer.data.length > 0 ? this.curve(curve, answer, from, until) : null)).catch(() => null)))
      .then((drawn) => this.element.replaceChildren(...drawn.filter((each) => each !== null)));
  }

  close(): void { this.key = "closed"; }

  private curve(curve: (typeof CURVES)[number], answer: FleetSeries, from: number, until: number): HTMLElement {
    const last = answer.data[answer.data.length - 1];
    const values = answer.data.map((bucket) => bucket[curve.kind]);
    const worst = "worst" in curve ? answer.data.map((bucket) => bucket.max) : [];
    const [low, high] = [Math.min(0, ...values), Math.max(...values, ...worst, 1e-9)];
    const y = (value: number) => 42 - ((value - low) / (high - low)) * 38;
    const path = (numbers: number[]) => {
      let [text, before] = ["", NaN];
      answer.data.forEach((bucket, index) => {
        const at = words.millis(bucket.time);
        text += `${at - before < 4000 * answer.bucket_seconds ? "L" : "M"}${(((at - from) / (until - from)) * 200).toFixed(1)} ${y(numbers[index] ?? 0).toFixed(1)}`;
        before = at;
      });
      return text;
    };
    const root = svg("svg", { viewBox: "0 0 200 44", preserveAspectRatio: "none", class: "pulse-curve", role: "img", "aria-label": `${curve.word} over the range` },
      svg("path", { d: path(values), class: "spark-line", "vector-effect": "non-scaling-stroke" }));
    if (worst.length > 0) root.append(svg("path", { d: path(worst), class: "spark-line dotted", "vector-effect": "non-scaling-stroke" }));
    const unit = answer.unit ?? "";
    return h("figure", null,
      h("figcaption", null, h("span", { class: "muted" }, curve.word), h("span", { class: "grow" }), h("b", { class: "num" }, words.value(last?.[curve.kind], unit)), h("span", { class: "muted" }, `\u2009${unit}`),
        "worst" in curve && last ? h("a", { class: "muted", href: `/device/${encodeURIComponent(last.max_device)}`, title: last.max_device }, `, ${curve.worst} ${words.value(last.max, unit, "cell")}`) : ""),
      root);
  }
}
