/** Lanes: charts under one another with one time axis and one cursor (design page, section 12). */

import uPlot from "uplot";
import { now } from "./api";
import { h } from "./dom";
import { readColours } from "./colours";
import type { Bucket, State } from "./types";
import * as words from "./words";

export interface Lane {
  key: string;
  title: string;
  state: State;
  unit: string | null;
  buckets: Bucket[];
  bucketSeconds: number;
  /** Expected range in each bucket; `null` where nothing is known. */
  expected: ([number, number] | null)[];
  /** Stretches out of the expected range, in ms. */
  flagged: [number, number][];
  /** Limits of the metric table, with their words. */
  limits: { value: number; word: string }[];
  /** The device is silent: the end of the plot is hatched. */
  silentSince: number;
  isCounter: boolean;
}

export interface Axis {
  from: number;
  until: number;
  /** Times of critical events, in ms. */
  marks: number[];
}

const [HEIGHT, TALL, GUTTER] = [72, 220, 44];
const LABEL_WIDTH = 176;
const SYNC = "lanes";
const STATE_TOKENS: Record<State, string> = { critical: "crit", warning: "warn", silent: "silent", unknown: "silent", asleep: "ok", ok: "data" };

export class LaneChart {
  readonly element = h("div", { class: "lane" });
  private plot: uPlot | null = null;
  private readonly value = h("b", { class: "num" });
  private readonly range = h("span", { class: "faint" });
  private readonly holder = h("div", { class: "lane-plot" });
  private height = HEIGHT;
  private readonly resize = new ResizeObserver(() => this.fit());

  constructor(private lane: Lane, private axis: Axis, head: Node, private readonly onZoom: (from: number, until: number) => void, private readonly onCursor: (at: number | null) => void) {
    const label = h("button", { class: "lane-label", "aria-expanded": "false", title: "larger or smaller" }, h("span", { class: "lane-title" }, head, h("span", null, lane.title)), h("span", { class: "lane-value" }, this.value, h("span", { class: "faint" }, lane.unit ? `\u2009${lane.unit}` : "")), this.range);
    label.addEventListener("click", () => {
      this.height = this.height === HEIGHT ? TALL : HEIGHT;
      label.setAttribute("aria-expanded", String(this.height === TALL));
      this.fit();
    });
    this.element.append(label, this.holder);
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", this.description());
    this.legend(null);
    this.resize.observe(this.holder);
  }

  close(): void {
    this.resize.disconnect();
    this.plot?.destroy();
  }

  private description(): string {
    const last = this.lane.buckets[this.lane.buckets.length - 1];
    const expected = this.expectedAt(this.lane.buckets.length - 1);
    return `${this.lane.title}: ${words.value(last?.mean, this.lane.unit)} ${this.lane.unit ?? ""}${expected ? `, ${expected}` : ""}`;
  }

  private fit(): void {
    const width = this.holder.clientWidth;
    if (width === 0) return;
    this.holder.style.height = `${this.height}px`;
    if (this.plot) this.plot.setSize({ width, height: this.height });
    else this.draw(width);
  }

  redraw(): void {
    this.plot?.destroy();
    this.plot = null;
    this.fit();
  }

  private draw(width: number): void {
    const { lane, axis } = this;
    const colours = readColours();
    const colour = colours[STATE_TOKENS[lane.state]] ?? "";
    const { xs, rows, bands } = this.columns();
    const isSteps = lane.isCounter;
    const stepped = uPlot.paths.stepped?.({ align: 1 });
    const line = (stroke: string, wide: number): uPlot.Series => ({ stroke, width: wide, spanGaps: false, points: { show: false }, ...(isSteps && stepped ? { paths: stepped } : {}) });
    const hasRibbon = lane.buckets.some((bucket) => bucket.count > 1 && bucket.max > bucket.min);
    const flaggedColour = lane.state === "ok" ? colours.warn ?? "" : colour;
    const options: uPlot.Options = {
      width, height: this.height, padding: [8, 6, 7, 0],
      legend: { show: false },
      cursor: { sync: { key: SYNC, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 8, width: 2, stroke: colours.ink ?? "", fill: colours.bg ?? "" }, y: false },
      scales: { x: { time: true, range: () => [axis.from / 1000, axis.until / 1000] }, y: { range: (_, low, high) => this.scale(low, high) } },
      axes: [
        { show: false },
        { size: GUTTER, stroke: colours.ink3 ?? "", font: "11px 'Inter Cut', system-ui", gap: 6, ticks: { show: false }, grid: { stroke: colours.line ?? "", width: 1 }, space: 26, incrs: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14], values: (_, ticks) => ticks.map((tick) => words.number(tick)) },
      ],
      series: [{}, { ...line("transparent", 0), points: { show: false } }, { ...line("transparent", 0) }, { ...line("transparent", 0) }, { ...line("transparent", 0) }, line(colours.data ?? "", 1.5), line(flaggedColour, 2.4)],
      bands: [{ series: [2, 1], fill: colours.band ?? "" }, ...(hasRibbon ? [{ series: [4, 3] as [number, number], fill: colours.band ?? "" }] : [])],
      hooks: {
        drawClear: [(plot) => this.under(plot, colours)],
        draw: [(plot) => this.over(plot, colours, flaggedColour)],
        setCursor: [(plot) => { const index = plot.cursor.idx; this.legend(index ?? null); const x = index === null || index === undefined ? null : xs[index]; this.onCursor(x === null || x === undefined ? null : x * 1000); }],
        setSelect: [(plot) => { if (plot.select.width > 4) this.onZoom(plot.posToVal(plot.select.left, "x") * 1000, plot.posToVal(plot.select.left + plot.select.width, "x") * 1000); plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false); }],
      },
    };
    this.plot = new uPlot(options, [xs, bands[0], bands[1], rows[1], rows[2], rows[0], rows[3]] as uPlot.AlignedData, this.holder);
  }

  /** Columns of the plot. A gap longer than three buckets breaks the line. */
  private columns(): { xs: number[]; rows: (number | null)[][]; bands: (number | null)[][] } {
    const { buckets, bucketSeconds, expected, flagged } = this.lane;
    const xs: number[] = [];
    const rows: (number | null)[][] = [[], [], [], []];
    const bands: (number | null)[][] = [[], []];
    let before = NaN;
    buckets.forEach((bucket, index) => {
      const at = words.millis(bucket.time) / 1000;
      if (at - before > 3.5 * bucketSeconds) {
        xs.push(before + bucketSeconds);
        for (const row of [...rows, ...bands]) row.push(null);
      }
      xs.push(at);
      const isFlagged = flagged.some(([from, until]) => at * 1000 >= from && at * 1000 <= until);
      rows[0]?.push(bucket.mean); rows[1]?.push(bucket.min); rows[2]?.push(bucket.max); rows[3]?.push(isFlagged ? bucket.mean : null);
      bands[0]?.push(expected[index]?.[0] ?? null); bands[1]?.push(expected[index]?.[1] ?? null);
      before = at;
    });
    return { xs, rows, bands };
  }

  private scale(low: number, high: number): [number, number] {
    if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
    const isRate = this.lane.unit !== "°C";
    const [a, b] = [isRate ? Math.min(0, low) : low, high];
    const room = b > a ? (b - a) * 0.12 : Math.max(Math.abs(b) * 0.2, 1);
    return [isRate && a === 0 ? 0 : a - room, b + room];
  }

  private under(plot: uPlot, colours: Record<string, string>): void {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    const day = new Date(this.axis.from);
    for (day.setHours(24, 0, 0, 0); day.getTime() < this.axis.until; day.setDate(day.getDate() + 1)) this.vertical(plot, day.getTime(), colours.line2 ?? "");
    ctx.globalAlpha = 0.22;
    for (const mark of this.axis.marks) this.vertical(plot, mark, colours.crit ?? "");
    ctx.globalAlpha = 1;
    if (!Number.isNaN(this.lane.silentSince)) {
      const left = Math.max(bbox.left, plot.valToPos(this.lane.silentSince / 1000, "x", true));
      ctx.beginPath();
      ctx.rect(left, bbox.top, bbox.left + bbox.width - left, bbox.height);
      ctx.clip();
      ctx.strokeStyle = colours.line2 ?? "";
      for (let x = left - bbox.height; x < bbox.left + bbox.width; x += 6 * devicePixelRatio) { ctx.beginPath(); ctx.moveTo(x, bbox.top + bbox.height); ctx.lineTo(x + bbox.height, bbox.top); ctx.stroke(); }
    }
    ctx.restore();
  }

  private vertical(plot: uPlot, at: number, colour: string): void {
    const x = Math.round(plot.valToPos(at / 1000, "x", true));
    const { ctx, bbox } = plot;
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.strokeStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }

  private over(plot: uPlot, colours: Record<string, string>, flaggedColour: string): void {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.fillStyle = flaggedColour;
    for (const [from, until] of this.lane.flagged) {
      const left = Math.max(bbox.left, plot.valToPos(from / 1000, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(until / 1000, "x", true));
      if (right > bbox.left) ctx.fillRect(left, 1, Math.max(3 * ratio, right - left), 3 * ratio);
    }
    const { min = 0, max = 1 } = plot.scales.y ?? {};
    for (const limit of this.lane.limits) {
      if (limit.value < (min ?? 0) || limit.value > (max ?? 1)) continue;
      const y = plot.valToPos(limit.value, "y", true);
      ctx.strokeStyle = ctx.fillStyle = colours.ink3 ?? "";
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      ctx.font = `${11 * ratio}px 'Inter Cut', system-ui`;
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      ctx.fillText(limit.word, bbox.left + 6 * ratio, y - 2 * ratio);
    }
    ctx.setLineDash([]);
    const last = this.lane.buckets[this.lane.buckets.length - 1];
    if (last && Number.isNaN(this.lane.silentSince)) {
      const [x, y] = [plot.valToPos(words.millis(last.time) / 1000, "x", true), plot.valToPos(last.mean, "y", true)];
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
    const { buckets, unit, silentSince } = this.lane;
    const x = at === null ? undefined : this.plot?.data[0]?.[at];
    const index = x === undefined ? buckets.length - 1 : buckets.findIndex((bucket) => Math.abs(words.millis(bucket.time) / 1000 - x) < 0.001);
    const isNow = x === undefined;
    if (isNow && !Number.isNaN(silentSince)) {
      this.value.textContent = "–";
      this.range.textContent = `last ${words.clock(silentSince, now(), true)}`;
      return;
    }
    this.value.textContent = words.value(buckets[index]?.mean, unit);
    this.range.textContent = this.expectedAt(index);
  }
}

/** The axis above the lanes, with the ribbon of verdicts below it. */
export class TimeAxis {
  readonly element = h("div", { class: "time-axis" });
  private readonly pill = h("span", { class: "time-pill num", hidden: true });
  private readonly ticks = h("div", { class: "axis-ticks num faint" });

  constructor(private axis: Axis) {
    this.ticks.append(this.pill);
    this.element.append(h("div", { class: "axis-label" }), this.ticks);
    const { from, until } = axis;
    for (const at of steps(from, until)) {
      const label = h("span", null, words.clock(at, at));
      if (until - from > 2 * 86_400_000) label.textContent = words.date(at).replace(/ \d{4}$/, "");
      label.style.left = `${this.share(at) * 100}%`;
      this.ticks.append(label);
    }
  }

  private share(at: number): number { return (at - this.axis.from) / (this.axis.until - this.axis.from); }

  cursor(at: number | null): void {
    this.pill.hidden = at === null;
    if (at === null) return;
    this.pill.textContent = this.axis.until - this.axis.from > 2 * 86_400_000 ? words.clock(at, now()) : words.clock(at, at, true);
    this.pill.style.left = `${this.share(at) * 100}%`;
  }
}

/** Round times, so that six to twelve stand on the axis. */
export function steps(from: number, until: number): number[] {
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14_400, 43_200, 86_400, 259_200, 525_600];
  const step = (minutes.find((each) => (until - from) / (each * 60_000) <= 12) ?? 525_600) * 60_000;
  const day = new Date(from);
  day.setHours(0, 0, 0, 0);
  const result = [];
  for (let at = day.getTime(); at < until; at += step) if (at > from + step * 0.2) result.push(at);
  return result;
}

export { GUTTER, LABEL_WIDTH };
