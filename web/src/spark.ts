/** Small curves and ribbons, each from a question of its own; kept for a minute, few at a time. */

import * as api from "./api";
import { app } from "./app";
import { span, windowOf } from "./address";
import { h, svg } from "./dom";
import type { Bucket, Segment } from "./types";
import * as words from "./words";

const KEEP_MS = 60_000;
const MAX_KEPT = 400;
const AT_ONCE = 3;
const POINTS = 120;

const kept = new Map<string, { at: number; keep: number; answer: Promise<unknown> }>();
const waiting: (() => void)[] = [];
let running = 0;

/** Time for which an answer is kept. A page opened with the first start sees the past being stored: what it asked then changes. */
export function lasting(): number { return performance.now() < KEEP_MS ? KEEP_MS / 12 : KEEP_MS; }

/** Asks, unless the same was asked within a minute. */
export function keptAnswer<T>(type: string, params: Record<string, unknown>): Promise<T> {
  const key = `${type} ${JSON.stringify(params)}`;
  const found = kept.get(key);
  if (found && Date.now() - found.at < found.keep) return found.answer as Promise<T>;
  const answer = turn().then(() => api.ask<T>(type, params)).finally(() => { running -= 1; waiting.shift()?.(); });
  answer.catch(() => kept.delete(key));
  kept.set(key, { at: Date.now(), keep: lasting(), answer });
  if (kept.size > MAX_KEPT) { const [first] = kept.keys(); if (first !== undefined) kept.delete(first); }
  return answer;
}

async function turn(): Promise<void> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  running += 1;
}

/** The curve of a metric over the range, without axes. Gaps stay gaps. */
export function sparkline(device: string, metric: string): SVGElement {
  const root = svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  const { from, until } = span(app.place.range, api.now());
  const bucket = Math.max(1, Math.ceil((until - from) / 1000 / POINTS));
  keptAnswer<{ data: Bucket[] }>("series", { source_device: device, metric_type: metric, bucket_seconds: bucket, ...windowOf(app.place.range) })
    .then((answer) => drawSpark(root, answer.data, from, until, bucket * 1000)).catch(() => root.classList.add("failed"));
  return root;
}

function drawSpark(root: SVGElement, buckets: Bucket[], from: number, until: number, step: number): void {
  if (buckets.length === 0) return;
  const values = buckets.map((bucket) => bucket.mean);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value: number) => (high > low ? 27 - ((value - low) / (high - low)) * 24 : 15);
  let [path, last] = ["", NaN];
  let [area, start] = ["", 0];
  for (const bucket of buckets) {
    const at = words.millis(bucket.time);
    const x = ((at + step / 2 - from) / (until - from)) * 100;
    const isNext = at - last < 4 * step;
    if (!isNext) { if (area) area += `L${start} 30Z`; area += `M${x.toFixed(2)} 30`; }
    path += `${isNext ? "L" : "M"}${x.toFixed(2)} ${y(bucket.mean).toFixed(2)}`;
    area += `L${x.toFixed(2)} ${y(bucket.mean).toFixed(2)}`;
    [last, start] = [at, x];
  }
  area += `L${start.toFixed(2)} 30Z`;
  root.append(svg("path", { d: area, class: "spark-area" }), svg("path", { d: path, class: "spark-line", "vector-effect": "non-scaling-stroke" }));
}

const HEIGHTS: Record<string, number> = { ok: 2, warning: 6, unknown: 5, critical: 12 };

/** The verdicts on a device over the range, as a ribbon: thin is well, thick is critical. */
export function ribbon(device: string): SVGElement {
  const root = svg("svg", { class: "ribbon", viewBox: "0 0 104 12", width: 104, height: 12, role: "img", "aria-label": "verdicts over the range" });
  const { from, until } = span(app.place.range, api.now());
  keptAnswer<{ data: Segment[] }>("health_history", { source_device: device, ...windowOf(app.place.range) })
    .then((answer) => drawRibbon(root, answer.data, from, until)).catch(() => root.classList.add("failed"));
  return root;
}

function drawRibbon(root: SVGElement, segments: Segment[], from: number, until: number): void {
  for (const segment of segments) {
    const x = Math.max(0, ((words.millis(segment.from) - from) / (until - from)) * 104);
    const end = Math.min(104, ((words.millis(segment.until) - from) / (until - from)) * 104);
    const height = HEIGHTS[segment.health] ?? 2;
    const width = Math.max(segment.health === "ok" ? 0 : 1.5, end - x);
    root.append(svg("rect", { x: Math.min(x, 104 - width), y: 12 - height, width, height, class: `seg ${segment.health}` }));
  }
}

/** A grey line where nothing can be drawn yet. */
export function placeholder(): HTMLElement { return h("div", { class: "placeholder" }); }
