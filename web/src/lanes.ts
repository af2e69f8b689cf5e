/** Lanes: charts under one another with one time axis and one cursor (design page, section 12). */

import uPlot from "uplot";
import { now } from "./api";
import { h } from "./dom";
import { readColours } from "./colours";
import { columns, gaps, scale, steps, ticks, valueOf } from "./lane_data";
import type { Axis, Columns, Lane } from "./lane_data";
import { gestures } from "./lane_gestures";
import { hatch, limitLine, vertical } from "./lane_marks";
import { menu } from "./lane_menu";
import type { State } from "./types";
import * as words from "./words";

export type { Axis, Lane } from "./lane_data";
export { steps } from "./lane_data";

const [HEIGHT, TALL, GUTTER] = [72, 220, 44];
const LABEL_WIDTH = 176;
const SYNC = "lanes";
/** Number of the series with the values: the cursor has a ring on it alone. */
const VALUE = 5;
const STATE_TOKENS: Record<State, string> = { critical: "crit", warning: "warn", silent: "silent", unknown: "silent", asleep: "ok", ok: "data" };

export class LaneChart {
  readonly element = h("div", { class: "lane" });
  isTall = false;
  private plot: uPlot | null = null;
  private shown: Columns;
  private readonly value = h("b", { class: "num" });
  private readonly range = h("span", { class: "faint lane-range" });
  private readonly holder = h("div", { class: "lane-plot" });
  private readonly title = h("span", { class: "lane-title" });
  private readonly label: HTMLButtonElement;
  private readonly menu;
  private readonly resize = new ResizeObserver(() => this.fit());

  constructor(private lane: Lane, private axis: Axis, head: Node, private readonly onZoom: (from: number, until: number) => void, private readonly onCursor: (at: number | null) => void) {
    this.shown = columns(lane);
    this.label = h("button", { class: "lane-label", "aria-expanded": "false", title: "larger or smaller" }, this.title, h("span", { class: "lane-value" }, this.value, h("span", { class: "faint" }, lane.unit ? `\u2009${lane.unit}` : "")), this.range);
    this.label.addEventListener("click", () => this.turn());
    this.menu = menu(() => this.lane, () => this.turn());
    this.element.append(this.label, this.menu.button, this.holder, this.menu.table);
    this.element.setAttribute("role", "group");
    gestures(this.holder, () => this.plot, () => this.axis, onZoom);
    this.name(head);
    this.resize.observe(this.holder);
  }

  /** Shows newer data in the same place. */
  update(lane: Lane, axis: Axis, head: Node): void {
    const isSame = lane.state === this.lane.state && lane.buckets.length > 0 === this.lane.buckets.length > 0;
    [this.lane, this.axis, this.shown] = [lane, axis, columns(lane)];
    this.name(head);
    this.menu.draw();
    if (this.plot && isSame) { this.plot.setData(this.data()); this.legend(this.plot.cursor.idx ?? null); } else this.redraw();
  }

  close(): void {
    this.resize.disconnect();
    this.plot?.destroy();
  }

  redraw(): void {
    this.plot?.destroy();
    this.plot = null;
    this.fit();
  }

  /** Makes the lane larger, or smaller again. */
  turn(): void {
    this.isTall = !this.isTall;
    this.label.setAttribute("aria-expanded", String(this.isTall));
    this.fit();
  }

  private name(head: Node): void {
    this.title.replaceChildren(head, h("span", { title: this.lane.key }, this.lane.title));
    const last = this.lane.buckets[this.lane.buckets.length - 1];
    const expected = this.expectedAt(this.lane.buckets.length - 1);
    this.element.setAttribute("aria-label", `${this.lane.title}: ${words.value(last && valueOf(last, this.lane.isCounter), this.lane.unit)} ${this.lane.unit ?? ""}${expected ? `, ${expected}` : ""}`);
    if (!this.plot) this.legend(null);
  }

  private fit(): void {
    const width = this.holder.clientWidth;
    if (width === 0) return;
    const height = this.isTall ? TALL : HEIGHT;
    this.holder.style.height = `${height}px`;
    if (this.plot) this.plot.setSize({ width, height });
    else this.draw(width, height);
  }

  private data(): uPlot.AlignedData {
    const { xs, value, min, max, flagged, low, high } = this.shown;
    return [xs, low, high, min, max, value, flagged];
  }

  private draw(width: number, height: number): void {
    const { lane } = this;
    const colours = readColours();
    const colour = colours[STATE_TOKENS[lane.state]] ?? "";
    const stepped = lane.isCounter ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    const line = (stroke: string, wide: number): uPlot.Series => ({ stroke, width: wide, spanGaps: false, points: { show: false }, ...(stepped ? { paths: stepped } : {}) });
    const flaggedColour = lane.state === "ok" ? colours.warn ?? "" : colour;
    const options: uPlot.Options = {
      width, height, padding: [8, 6, 7, 0],
      legend: { show: false },
      cursor: { sync: { key: SYNC, setSeries: false }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => null }, points: { size: (_, series) => (series === VALUE ? 8 : 0), width: (_, series) => (series === VALUE ? 2 : 0), stroke: colours.ink ?? "", fill: colours.bg ?? "" }, y: false },
      scales: { x: { time: true, range: () => [this.axis.from / 1000, this.axis.until / 1000] }, y: { range: () => scale(this.lane) } },
      axes: [
        { show: false },
        { size: GUTTER, stroke: colours.ink3 ?? "", font: "11px 'Inter Cut', system-ui", gap: 6, ticks: { show: false }, grid: { stroke: colours.line ?? "", width: 1 }, splits: (_, __, low, high) => ticks(low, high, this.isTall ? 8 : 3), values: (_, marks) => marks.map((mark) => words.number(mark)) },
      ],
      series: [{}, line("transparent", 0), line("transparent", 0), line("transparent", 0), line("transparent", 0), line(colours.data ?? "", 1.5), line(flaggedColour, 2.4)],
      bands: [{ series: [2, 1], fill: colours.band ?? "" }, { series: [4, 3], fill: colours.spread ?? "" }],
      hooks: {
        drawClear: [(plot) => this.under(plot, colours)],
        draw: [(plot) => this.over(plot, colours, flaggedColour)],
        setCursor: [(plot) => { const index = plot.cursor.idx ?? null; this.legend(index); const x = index === null ? undefined : this.shown.xs[index]; this.onCursor(x === undefined ? null : x * 1000); }],
        setSelect: [(plot) => { if (plot.select.width > 4) this.onZoom(plot.posToVal(plot.select.left, "x") * 1000, plot.posToVal(plot.select.left + plot.select.width, "x") * 1000); plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false); }],
      },
    };
    this.plot = new uPlot(options, this.data(), this.holder);
  }

  private under(plot: uPlot, colours: Record<string, string>): void {
    const { ctx } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    const day = new Date(this.axis.from);
    for (day.setHours(24, 0, 0, 0); day.getTime() < this.axis.until; day.setDate(day.getDate() + 1)) vertical(plot, day.getTime(), colours.line2 ?? "");
    ctx.globalAlpha = 0.22;
    for (const mark of this.axis.marks) vertical(plot, mark, colours.crit ?? "");
    ctx.globalAlpha = 1;
    for (const [from, until] of gaps(this.lane, this.axis.until)) hatch(plot, from, until, colours.line2 ?? "");
    ctx.restore();
  }

  private over(plot: uPlot, colours: Record<string, string>, flaggedColour: string): void {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.fillStyle = flaggedColour;
    for (const [from, until] of this.lane.flagged) {
      const left = Math.max(bbox.left, plot.valToPos(from / 1000, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(until / 1000, "x", true));
      if (right > bbox.left && left < bbox.left + bbox.width) ctx.fillRect(left, 1, Math.max(3 * ratio, right - left), 3 * ratio);
    }
    for (const limit of this.lane.limits) limitLine(plot, limit, colours.ink3 ?? "");
    const last = this.lane.buckets[this.lane.buckets.length - 1];
    if (last && Number.isNaN(this.lane.silentSince)) {
      const [x, y] = [plot.valToPos(words.millis(last.time) / 1000, "x", true), plot.valToPos(valueOf(last, this.lane.isCounter), "y", true)];
      const isFlagged = this.lane.flagged.some(([, until]) => until >= words.millis(last.time));
      ctx.fillStyle = (isFlagged ? flaggedColour : colours.data) ?? "";
      ctx.beginPath(); ctx.arc(x, y, 3 * ratio, 0, 2 * Math.PI); ctx.fill();
    }
    ctx.restore();
  }

  private expectedAt(index: number): string {
    const band = this.lane.expected[index];
    if (!band) return "";
    const [low, high] = band.map((end) => words.value(end, this.lane.unit));
    return low === high ? `expected ${low ?? ""}` : `expected ${low ?? ""} to ${high ?? ""}`;
  }

  /** Value and expected range at the cursor, or now. */
  private legend(at: number | null): void {
    const { buckets, unit, silentSince, isCounter } = this.lane;
    if (at === null && !Number.isNaN(silentSince)) {
      this.value.textContent = "–";
      this.range.textContent = `last ${words.clock(silentSince, now(), true).replace("yesterday ", "")}`;
      return;
    }
    const index = at === null ? buckets.length - 1 : this.shown.bucket[at] ?? -1;
    const bucket = buckets[index];
    this.value.textContent = words.value(bucket && valueOf(bucket, isCounter), unit);
    this.range.textContent = bucket ? this.expectedAt(index) : "no value";
  }
}

const TICK_WIDTH = 62;

/** The axis above the lanes. */
export class TimeAxis {
  readonly element = h("div", { class: "time-axis" });
  private readonly pill = h("span", { class: "time-pill num", hidden: true });
  private readonly ticks = h("div", { class: "axis-ticks num faint" });
  private readonly resize = new ResizeObserver(() => this.draw());

  constructor(private axis: Axis) {
    this.element.append(h("div", { class: "axis-label" }), this.ticks);
    this.draw();
    this.resize.observe(this.ticks);
  }

  update(axis: Axis): void { this.axis = axis; this.draw(); }
  close(): void { this.resize.disconnect(); }

  private draw(): void {
    const { from, until } = this.axis;
    const width = this.ticks.clientWidth || 700;
    const labels = steps(from, until, Math.max(2, Math.min(12, Math.floor(width / TICK_WIDTH)))).map((at) => {
      const label = h("span", null, until - from > 2 * 86_400_000 ? words.date(at).replace(/ \d{4}$/, "") : words.clock(at, at));
      label.style.left = `${this.share(at) * 100}%`;
      return label;
    });
    this.ticks.replaceChildren(...labels, this.pill);
  }

  private share(at: number): number { return (at - this.axis.from) / (this.axis.until - this.axis.from); }

  cursor(at: number | null): void {
    this.pill.hidden = at === null;
    if (at === null) return;
    this.pill.textContent = this.axis.until - this.axis.from > 2 * 86_400_000 ? words.clock(at, now()) : words.clock(at, at, true);
    this.pill.style.left = `${this.share(at) * 100}%`;
  }
}

export { GUTTER, LABEL_WIDTH };
