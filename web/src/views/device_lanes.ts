/** The lanes of a device. Each is made at once with its place, and asks for its values when it comes near the screen. */

import * as api from "../api";
import { app } from "../app";
import { windowOf } from "../address";
import { h } from "../dom";
import { LaneChart, TimeAxis } from "../lanes";
import { atLeastZero, join } from "../lane_data";
import type { Axis, Lane } from "../lane_data";
import { shape } from "../shapes";
import type { Bucket, DeviceHealth, EventRow, Reason, Segment, State } from "../types";
import * as words from "../words";
import { bigRibbon } from "./ribbon";

export interface SeriesAnswer { data: Bucket[]; unit: string | null; bucket_seconds: number; expected?: ([number, number] | null)[]; flagged?: [string, string][]; limits?: { value: number; word: string }[] }

export interface Shown {
  axis: Axis;
  health: DeviceHealth;
  metrics: string[];
  history: Segment[];
  events: EventRow[];
  /** Time from which nothing was heard, or `NaN`. */
  silentSince: number;
}

/** Most buckets that a lane asks for. */
const MAX_BUCKETS = 480;
/** Lanes that are asked for in one go. */
const AT_ONCE = 4;
/** Distance from the screen at which a lane is loaded, in px. */
const NEAR = "600px 0px";
/** Buckets between two odd stretches that are one to the eye. */
const JOINED = 3;

interface Place { element: HTMLElement; chart: LaneChart | null; isNear: boolean; asked: string }

export class DeviceLanes {
  readonly element = h("div", { class: "lanes" });
  private readonly places = new Map<string, Place>();
  private readonly top = h("div", { class: "lanes-top" });
  private readonly list = h("div", { class: "lane-list" });
  private readonly note = h("p", { class: "muted pad", hidden: true });
  private axis: TimeAxis | null = null;
  private shown: Shown | null = null;
  private signal = new AbortController().signal;
  /** Increases with each `show`: what was asked before is old. */
  private version = 0;
  private isAsking = false;
  private readonly near = new IntersectionObserver((entries) => {
    for (const entry of entries) for (const place of this.places.values()) if (place.element === entry.target) place.isNear = entry.isIntersecting;
    void this.ask();
  }, { rootMargin: NEAR });

  /** `expected` hears of each metric whose newest value is where it is expected. */
  constructor(private readonly expected: (metric: string, isExpected: boolean) => void) { this.element.append(this.top, this.list, this.note); }

  show(shown: Shown, signal: AbortSignal): void {
    [this.shown, this.signal] = [shown, signal];
    this.version += 1;
    if (this.axis) this.axis.update(shown.axis); else this.axis = new TimeAxis(shown.axis);
    this.top.replaceChildren(this.axis.element, bigRibbon(shown.axis, shown.history, shown.events));
    const wanted = order(shown.metrics, shown.health.reasons);
    for (const [metric, place] of this.places) if (!wanted.includes(metric)) { place.chart?.close(); place.element.remove(); this.places.delete(metric); }
    for (const metric of wanted) this.place(metric);
    // Nothing moves unless the evidence has changed.
    const inPlace = [...this.list.children];
    const elements = wanted.map((metric) => this.place(metric).element);
    if (elements.some((element, at) => element !== inPlace[at])) this.list.replaceChildren(...elements);
    this.note.hidden = wanted.length > 0;
    this.note.textContent = "No values on record.";
    void this.ask();
  }

  close(): void {
    this.near.disconnect();
    this.axis?.close();
    for (const { chart } of this.places.values()) chart?.close();
  }

  private place(metric: string): Place {
    const known = this.places.get(metric);
    if (known) return known;
    const place: Place = { element: h("div", { class: "lane-place", "data-metric": metric }, h("div", { class: "lane-waits" }, h("span", { class: "muted" }, words.metric(metric)))), chart: null, isNear: false, asked: "" };
    this.places.set(metric, place);
    this.near.observe(place.element);
    return place;
  }

  /** Asks for the lanes near the screen that have not been asked for, a few at a time, from the top. */
  private async ask(): Promise<void> {
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      for (;;) {
        const { shown, version, signal } = this;
        if (!shown) return;
        const next = order(shown.metrics, shown.health.reasons).filter((metric) => { const place = this.places.get(metric); return place?.isNear && place.asked !== String(version); }).slice(0, AT_ONCE);
        if (next.length === 0 || signal.aborted) return;
        await Promise.all(next.map((metric) => this.load(metric, shown, version, signal)));
      }
    } finally { this.isAsking = false; }
  }

  private async load(metric: string, shown: Shown, version: number, signal: AbortSignal): Promise<void> {
    const place = this.place(metric);
    place.asked = String(version);
    const width = Math.max(240, this.element.clientWidth - 240);
    const { from, until } = shown.axis;
    const bucket = Math.max(1, Math.ceil((until - from) / 1000 / Math.min(width, MAX_BUCKETS)));
    try {
      const answer = await api.ask<SeriesAnswer>("series", { source_device: shown.health.device, metric_type: metric, bucket_seconds: bucket, expected: "yes", ...windowOf(app.place.range) }, signal);
      if (!signal.aborted && version === this.version) this.draw(metric, place, answer, shown);
    } catch (error) {
      if (signal.aborted || place.chart) return;
      place.element.replaceChildren(h("p", { class: "partial" }, `${words.metric(metric)}: ${words.name(error instanceof Error ? error.message : String(error))}`));
    }
  }

  private draw(metric: string, place: Place, answer: SeriesAnswer, shown: Shown): void {
    const reason = shown.health.reasons.find((one) => one.metric === metric);
    const lane = laneOf(metric, answer, reason, shown.silentSince);
    const head = shape(lane.state, 11, Boolean(reason?.accepted));
    if (answer.data.length === 0) {
      place.chart?.close();
      place.chart = null;
      place.element.replaceChildren(h("div", { class: "lane-waits" }, h("span", { class: "muted" }, words.metric(metric)), h("span", { class: "faint" }, "No values in this range.")));
      return;
    }
    const last = answer.data.length - 1;
    const [band, value] = [lane.expected[last], answer.data[last]?.mean ?? NaN];
    this.expected(metric, Boolean(band) && lane.state === "ok" && Number.isNaN(shown.silentSince) && value >= (band?.[0] ?? NaN) && value <= (band?.[1] ?? NaN));
    if (place.chart) { place.chart.update(lane, shown.axis, head); return; }
    const zoom = (from: number, until: number) => { const end = Math.min(until, api.now()); app.go({ range: { from: Math.round(Math.min(from, end - 1000)), until: Math.round(end) } }, "replace"); };
    place.chart = new LaneChart(lane, shown.axis, head, zoom, (at) => this.axis?.cursor(at));
    place.element.replaceChildren(place.chart.element);
  }
}

/** Metrics with evidence first, in its order; then the others by name. */
export function order(metrics: string[], reasons: Reason[]): string[] {
  const rank = (metric: string) => { const at = reasons.findIndex((reason) => reason.metric === metric); return at < 0 ? reasons.length : at; };
  const usual = ["Latency", "DiskTemp", "IOPs", "Throughput", "Utilization", "CapacityUsed"];
  const second = (metric: string) => { const at = usual.indexOf(metric); return at < 0 ? usual.length : at; };
  return [...metrics].sort((a, b) => rank(a) - rank(b) || second(a) - second(b) || a.localeCompare(b, "en", { numeric: true }));
}

export function laneOf(metric: string, answer: SeriesAnswer, reason: Reason | undefined, silentSince: number): Lane {
  const state: State = reason ? reason.health : "ok";
  const bucketMs = answer.bucket_seconds * 1000;
  const flagged = (answer.flagged ?? []).map(([from, until]): [number, number] => [words.millis(from), words.millis(until)]);
  const since = words.millis(reason?.since);
  const isBad = state === "critical" || state === "warning";
  const last = words.millis(answer.data[answer.data.length - 1]?.time);
  if (isBad && since <= last) flagged.push([since, last]);
  // What was never below zero is not expected there.
  const isCount = answer.unit !== "°C" && answer.data.every((bucket) => bucket.min >= 0);
  // Hours count up by themselves: no value of them is odd.
  const isClock = answer.unit === "h";
  const limits = answer.limits ?? (reason?.limit ? [{ value: reason.limit, word: `limit ${words.number(reason.limit)}` }] : []);
  return {
    key: metric, title: words.metric(metric), state, unit: answer.unit, buckets: answer.data, bucketSeconds: answer.bucket_seconds,
    expected: isClock ? [] : (answer.expected ?? []).map((band) => (isCount ? atLeastZero(band) : band)),
    flagged: isClock && !isBad ? [] : join(flagged, JOINED * bucketMs), limits, silentSince,
    isCounter: /^smart_\d+_raw$|Errors|Sectors|Count|Hours/.test(metric),
  };
}
