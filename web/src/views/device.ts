/** Device: the verdict, why, and one lane for each metric, sorted by evidence. */

import * as api from "../api";
import { app } from "../app";
import type { View } from "../app";
import { span, windowOf } from "../address";
import { acknowledge, accept } from "../decide";
import { fill, h } from "../dom";
import { grafanaLink } from "../grafana";
import { LaneChart, TimeAxis } from "../lanes";
import type { Axis, Lane } from "../lanes";
import { icon, shape, stateOf } from "../shapes";
import type { Bucket, DeviceHealth, EventRow, Reason, Segment, State } from "../types";
import { verdict } from "../verdict";
import * as words from "../words";
import { bigRibbon } from "./ribbon";
import { peers, shelf } from "./device_side";
import { notFound, statePage } from "../states";

interface SeriesAnswer { data: Bucket[]; unit: string | null; bucket_seconds: number; expected?: ([number, number] | null)[]; flagged?: [string, string][]; limits?: { value: number; word: string }[] }
export interface DeviceRow { source_device: string; labels: Record<string, string>; metrics: Record<string, { value: number | null; unit?: string; time: string; note?: string }> }
interface HealthAnswer { data: DeviceHealth }

const MAX_LANES = 48;
const RELOAD_MS = 10_000;

export function deviceView(): View {
  const element = h("div", { class: "device" });
  let abort = new AbortController();
  let charts: LaneChart[] = [];
  let head = verdict();
  let loaded = "";
  /** Device that is asked for: an answer that takes longer than the fleet's updates must not be asked for again and again. */
  let loading: string | null = null;
  let reloaded = 0;

  const load = async (isQuiet = false) => {
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    const name = app.place.subject;
    loading = name;
    const window = windowOf(app.place.range);
    try {
      const [health, row, history, events] = await Promise.all([
        api.ask<HealthAnswer>("device_health", { source_device: name }, signal),
        findRow(name, signal),
        api.ask<{ data: Segment[] }>("health_history", { source_device: name, ...window }, signal).catch(() => ({ data: [] })),
        api.ask<{ data: EventRow[] }>("events", { source_device: name, limit: 100, ...window }, signal),
      ]);
      if (signal.aborted) return;
      reloaded = Date.now();
      if (row === null && events.data.length === 0) { fill(element, notFound("No metric and no event of this device is stored.")); loaded = name; return; }
      draw(health.data, row, history.data, events.data, signal);
      loaded = name;
    } catch (error) {
      if (signal.aborted) return;
      if (isQuiet) return;
      fill(element, statePage(error, () => void load()));
    } finally {
      if (!signal.aborted) loading = null;
    }
  };

  const draw = (health: DeviceHealth, row: DeviceRow | null, history: Segment[], events: EventRow[], signal: AbortSignal) => {
    for (const chart of charts) chart.close();
    charts = [];
    head = verdict();
    const state = stateOfDevice(health, row);
    const labels = row?.labels ?? {};
    const silentSince = state === "silent" ? words.millis(health.last_received ?? health.last_seen) : NaN;
    const { from, until } = span(app.place.range, api.now());
    const axis: Axis = { from, until, marks: events.filter((event) => event.criticality >= 8).map((event) => words.millis(event.time)) };
    const acknowledged = Boolean(health.acknowledged);
    const buttons = h("div", { class: "buttons" },
      grafanaLink(health.device, app.place.range),
      button([icon("copy", 14), "Copy JSON"], "", (own) => { void navigator.clipboard.writeText(JSON.stringify(health, null, 2)); own.lastChild?.replaceWith("Copied"); }),
      button([acknowledged ? "Acknowledged" : "Acknowledge"], "primary", () => acknowledge(health.device, () => void load(true))));
    const lanes = h("div", { class: "lanes" });
    const side = h("aside", { class: "device-side", "aria-label": "place, peers, events, labels" });
    fill(element,
      crumbs(health.device, labels),
      head.show({ state, ...sentence(health, state), since: words.millis(health.since ?? (state === "silent" ? health.last_received : null)), rest: facts(health, labels) }, buttons),
      h("div", { class: "device-columns" }, h("div", null, why(health, row, () => void load(true)), lanes), side));
    const icons = element.querySelector(".verdict > .shape");
    if (acknowledged) icons?.replaceWith(shape(state, 26, true));
    void drawLanes(lanes, axis, health, row, history, events, silentSince, signal);
    drawSide(side, health, row, events, signal);
  };

  const drawLanes = async (lanes: HTMLElement, axis: Axis, health: DeviceHealth, row: DeviceRow | null, history: Segment[], events: EventRow[], silentSince: number, signal: AbortSignal) => {
    const timeAxis = new TimeAxis(axis);
    const top = h("div", { class: "lanes-top" }, timeAxis.element, bigRibbon(axis, history, events));
    fill(lanes, top);
    const metrics = order(Object.keys(row?.metrics ?? {}), health.reasons).slice(0, MAX_LANES);
    const width = Math.max(240, lanes.clientWidth - 240);
    const bucket = Math.max(1, Math.ceil((axis.until - axis.from) / 1000 / Math.min(width, 480)));
    const onZoom = (from: number, until: number) => app.go({ range: { from: Math.round(from), until: Math.round(until) } }, "replace");
    const onCursor = (at: number | null) => timeAxis.cursor(at);
    // In order, a few at a time: the first lanes are those with evidence.
    for (let start = 0; start < metrics.length; start += 4) {
      const answers = await Promise.all(metrics.slice(start, start + 4).map((metric) =>
        api.ask<SeriesAnswer>("series", { source_device: health.device, metric_type: metric, bucket_seconds: bucket, expected: "yes", ...windowOf(app.place.range) }, signal)
          .then((answer) => ({ metric, answer })).catch((error: unknown) => ({ metric, error }))));
      if (signal.aborted) return;
      for (const each of answers) {
        if ("error" in each) { lanes.append(h("p", { class: "partial" }, `${words.metric(each.metric)}: ${String(each.error instanceof Error ? each.error.message : each.error)}`)); continue; }
        if (each.answer.data.length === 0) continue;
        const reason = health.reasons.find((one) => one.metric === each.metric);
        const chart = new LaneChart(laneOf(each.metric, each.answer, reason, silentSince), axis, shape(reason ? reason.health : "ok", 11), onZoom, onCursor);
        charts.push(chart);
        lanes.append(chart.element);
      }
    }
    if (charts.length === 0) lanes.append(h("p", { class: "muted pad" }, "No values in this range."));
  };

  return {
    element,
    move: () => void load(),
    update: () => { if (loaded !== app.place.subject && loading !== app.place.subject) void load(); },
    tick: () => { head.tick(); if (loading === null && !app.isPaused && "minutes" in app.place.range && Date.now() - reloaded > RELOAD_MS && !element.matches(":hover") && !element.contains(document.activeElement) && !document.hidden) void load(true); },
    key: (event) => {
      if (event.key === "a") { acknowledge(app.place.subject, () => void load(true)); return true; }
      if (event.key === "c") { element.querySelector<HTMLButtonElement>(".buttons button")?.click(); return true; }
      return false;
    },
    close: () => { abort.abort(); for (const chart of charts) chart.close(); },
  };

  function why(health: DeviceHealth, row: DeviceRow | null, again: () => void): HTMLElement {
    const bad = health.reasons.filter((reason) => reason.health !== "ok" || reason.accepted);
    const notes = health.reasons.filter((reason) => reason.health === "ok" && !reason.accepted);
    const line = notes.length > 0 ? h("p", { class: "as-expected" }, shape("ok", 12), h("span", null, `Also seen: ${notes.slice(0, 3).map((reason) => words.reason(reason.why)).join("; ")}${notes.length > 3 ? ` and ${notes.length - 3} more` : ""}.`)) : null;
    if (bad.length === 0) return h("div", null, line ?? h("p", { class: "as-expected" }, shape("ok", 12), h("span", null, "Everything is as expected.")));
    return h("div", null, h("table", { class: "why" },
      h("thead", null, h("tr", null, h("th", null), h("th", null, "Why"), h("th", { class: "right" }, "Now"), h("th", null, "Against what is expected"), h("th", null, "Since"), h("th", null, h("span", { class: "hidden" }, "decide")))),
      h("tbody", null, ...bad.map((reason) => reasonRow(health.device, reason, reason.metric in (row?.metrics ?? {}), again)))), line);
  }
}

function reasonRow(device: string, reason: Reason, isMetric: boolean, again: () => void): HTMLElement {
  const since = words.millis(reason.since);
  const detail = [reason.expected && `expected ${reason.expected}`, reason.trend].filter(Boolean).join("; ") || words.reason(reason.why);
  const decide = reason.accepted
    ? h("span", { class: "muted", title: reason.accepted.reason ?? "" }, "accepted")
    : button(["Accept…"], "link", () => accept(device, reason.metric, again));
  return h("tr", null,
    h("td", { class: "shape-cell" }, shape(reason.health, 13, Boolean(reason.accepted))),
    h("td", { class: "what" }, words.metric(reason.metric)),
    h("td", { class: "right num now" }, isMetric ? words.number(reason.value) : ""),
    h("td", null, h("span", { title: reason.why }, detail), detail === words.reason(reason.why) ? null : h("div", { class: "faint" }, words.reason(reason.why))),
    h("td", { class: "num muted since" }, Number.isNaN(since) ? "" : `${words.clock(since, api.now())}, ${words.duration((api.now() - since) / 1000)}`),
    h("td", { class: "right" }, decide));
}

function button(content: (Node | string)[], kind: string, onClick: (own: HTMLButtonElement) => void): HTMLButtonElement {
  const element = h("button", { class: kind === "link" ? "link muted" : `control ${kind}` }, ...content);
  element.addEventListener("click", () => onClick(element));
  return element;
}

function stateOfDevice(health: DeviceHealth, row: DeviceRow | null): State {
  const index = app.fleet?.find(health.device);
  if (health.health !== "unknown") return health.health;
  const known = index === undefined ? undefined : app.fleet?.state(index);
  if (known === "silent" || known === "asleep") return known;
  const reason = health.reasons[0]?.metric;
  return reason === "smart_standby" ? "asleep" : row === null || reason === "silence" || reason === "data" ? "silent" : "unknown";
}

function sentence(health: DeviceHealth, state: State): { title: string; advice: string | null } {
  const first = health.reasons.find((reason) => reason.health !== "ok");
  const noun = app.fleet && app.fleet.find(health.device) !== undefined ? app.fleet.noun(app.fleet.find(health.device) ?? 0) : "device";
  const ago = words.millis(health.last_received ?? health.last_seen);
  switch (state) {
    case "critical": return { title: first?.advice ? `Failing: ${lower(first.advice)}` : `This ${noun} is failing`, advice: null };
    case "warning": return { title: first?.advice ? `Worth a look: ${lower(first.advice)}` : `This ${noun} needs a look`, advice: null };
    case "silent": return { title: Number.isNaN(ago) ? "Silent: never heard" : `Silent: nothing heard for ${words.duration((api.now() - ago) / 1000)}`, advice: first?.advice ?? "Check power and path" };
    case "asleep": return { title: "Asleep: spun down, as it said", advice: null };
    case "unknown": return { title: "Not known: its data is not understood", advice: first?.advice ?? null };
    case "ok": return { title: `This ${noun} is well`, advice: null };
  }
}

function lower(text: string): string {
  const plain = text.replace(/\.$/, "");
  return /^[A-Z][a-z]/.test(plain) ? plain.charAt(0).toLowerCase() + plain.slice(1) : plain;
}

function facts(health: DeviceHealth, labels: Record<string, string>): string {
  const parts = [health.score === null ? "" : `Score ${health.score} of 100.`, [words.place(labels), labels.serial && `serial ${words.name(labels.serial)}`].filter(Boolean).join(", ")];
  return parts.filter(Boolean).join(" ");
}

function crumbs(device: string, labels: Record<string, string>): HTMLElement {
  const needy = app.fleet?.needy().map((index) => app.fleet?.device(index) ?? "") ?? [];
  const at = needy.indexOf(device);
  const group = labels.enclosure;
  const step = (by: number, key: string, mark: "left" | "right") => {
    const element = h("button", { class: "control", "aria-label": by > 0 ? "next that needs attention" : "previous that needs attention" }, ...(by < 0 ? [icon(mark, 14), h("kbd", null, key)] : [h("kbd", null, key), icon(mark, 14)]));
    element.addEventListener("click", () => stepNeedy(by));
    return element;
  };
  return h("nav", { class: "crumbs", "aria-label": "place" },
    link("/", "Fleet"), "/", group ? [link(`/?q=${encodeURIComponent(group)}`, words.short(group, 30)), "/"] : null, h("span", { class: "here", dir: "auto", title: device }, words.short(device, 60)),
    h("span", { class: "grow" }), needy.length > 0 ? h("span", null, at >= 0 ? `${at + 1} of ${needy.length} that need attention` : `${words.counted(needy.length, "device")} ${needy.length === 1 ? "needs" : "need"} attention`) : null,
    needy.length > 0 ? [step(-1, "k", "left"), step(1, "j", "right")] : null);
}

function link(href: string, text: string): HTMLElement { return h("a", { href, "data-link": true }, text); }

/** Goes to the next or previous device that needs attention. */
export function stepNeedy(by: number): void {
  const fleet = app.fleet;
  const needy = fleet?.needy().map((index) => fleet.device(index)) ?? [];
  if (needy.length === 0) return;
  const at = app.place.view === "device" ? needy.indexOf(app.place.subject) : by > 0 ? -1 : 0;
  const next = needy[(at + by + needy.length) % needy.length];
  if (next) app.go({ view: "device", subject: next, options: {} });
}

async function findRow(name: string, signal: AbortSignal): Promise<DeviceRow | null> {
  const answer = await api.ask<{ data: DeviceRow[] }>("devices", { source_device: name }, signal);
  return answer.data[0] ?? null;
}

/** Metrics with evidence first, in its order; then the others by name. */
function order(metrics: string[], reasons: Reason[]): string[] {
  const rank = (metric: string) => { const at = reasons.findIndex((reason) => reason.metric === metric); return at < 0 ? reasons.length : at; };
  const usual = ["Latency", "DiskTemp", "IOPs", "Throughput", "Utilization", "CapacityUsed"];
  const second = (metric: string) => { const at = usual.indexOf(metric); return at < 0 ? usual.length : at; };
  return [...metrics].sort((a, b) => rank(a) - rank(b) || second(a) - second(b) || a.localeCompare(b, "en", { numeric: true }));
}

function laneOf(metric: string, answer: SeriesAnswer, reason: Reason | undefined, silentSince: number): Lane {
  const state: State = reason ? reason.health : "ok";
  const flagged = (answer.flagged ?? []).map(([from, until]): [number, number] => [words.millis(from), words.millis(until)]);
  const since = words.millis(reason?.since);
  // What was never below zero is not expected there.
  const isCount = answer.unit !== "°C" && answer.data.every((bucket) => bucket.min >= 0);
  if (flagged.length === 0 && (state === "critical" || state === "warning") && !Number.isNaN(since)) flagged.push([since, words.millis(answer.data[answer.data.length - 1]?.time)]);
  return {
    key: metric, title: words.metric(metric), state, unit: answer.unit, buckets: answer.data, bucketSeconds: answer.bucket_seconds,
    expected: (answer.expected ?? []).map((band) => (band && isCount ? [Math.max(0, band[0]), band[1]] : band)), flagged, limits: answer.limits ?? (reason?.limit ? [{ value: reason.limit, word: `limit ${words.number(reason.limit)}` }] : []), silentSince,
    isCounter: /^smart_\d+_raw$|Errors|Sectors|Count|Hours/.test(metric),
  };
}

function drawSide(side: HTMLElement, health: DeviceHealth, row: DeviceRow | null, events: EventRow[], signal: AbortSignal): void {
  const labels = row?.labels ?? {};
  fill(side,
    app.fleet ? shelf(app.fleet, health.device) : null,
    app.fleet ? peers(app.fleet, health.device) : null,
    h("section", null, h("div", { class: "side-head" }, h("h2", null, "Events"), h("span", { class: "muted" }, `${events.length === 100 ? "100 newest" : words.whole(events.length)} in the range`)),
      events.length === 0 ? h("p", { class: "muted" }, "None in this range.") : h("ul", { class: "side-events" }, ...events.slice(0, 8).map((event) => h("li", null,
        h("time", { class: "num muted", datetime: event.time, title: event.time }, words.clock(words.millis(event.time), api.now()).replace("yesterday ", "")), shape(stateOf(event.criticality), 11),
        h("span", { class: "cut", title: event.event_message ?? "" }, h("b", null, words.name(event.event_type)), " ", h("span", { class: "muted" }, words.name(event.event_message ?? ""))))))),
    Object.keys(labels).length > 0 ? h("section", null, h("h2", null, "Labels"), h("dl", { class: "labels" }, ...Object.entries(labels).flatMap(([key, text]) => [h("dt", { class: "muted" }, words.name(key)), h("dd", { dir: "auto" }, words.name(text))]))) : null);
  void signal;
}
