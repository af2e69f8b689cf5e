/** Pipeline: is everything stored, and where does it wait. */

import { span, windowOf } from "../address";
import * as api from "../api";
import { app } from "../app";
import type { View } from "../app";
import * as counters from "../counters";
import type { Reading } from "../counters";
import { fill, h } from "../dom";
import { LaneChart, TimeAxis } from "../lanes";
import type { Axis } from "../lanes";
import type { State } from "../types";
import { statePage } from "../states";
import { verdict } from "../verdict";
import * as words from "../words";
import { DeadLetters } from "./dead_letters";
import { picture } from "./pipeline_picture";
import type { Stage } from "./pipeline_picture";

const INTERVAL_MS = 2000;
/** Writers report every 10 s. */
const HISTORY_MS = 10_000;
/** Age from which on the newest report says nothing about the present. */
const SILENT_MS = 45_000;
/** Messages that wait without meaning anything: those of the last moments. */
const SECONDS_BEHIND = 3;

export interface PipelineBucket {
  time: string; n_writers: number; values_per_second: number | null; events_per_second: number | null; dead_letters_per_second: number | null;
  metrics_lag: number | null; events_lag: number | null; dead_letters: number | null; store_latency_p99_seconds: number | null; ready: number | null;
}
interface History { data: PipelineBucket[]; bucket_seconds: number }
type Ready = { status: number; body: string };

export function pipelineView(): View {
  const head = h("div");
  const drawing = h("div", { class: "picture" });
  const lanes = h("div", { class: "lanes" });
  const letters = new DeadLetters();
  const element = h("div", { class: "pipeline" }, head, drawing, h("div", { class: "pipeline-columns" }, lanes, letters.element));
  const abort = new AbortController();
  let before: Reading | null = null;
  let newest: PipelineBucket | null = null;
  let charts: LaneChart[] = [];
  let timer = 0;
  let asked = 0;
  let last = "";
  const current = verdict();

  const look = async () => {
    try {
      const [metrics, ready] = await Promise.all([api.text("/metrics"), api.text("/readyz"), Date.now() - asked > HISTORY_MS ? askNewest() : null]);
      if (abort.signal.aborted) return;
      if (metrics.status !== 200) throw new api.AnswerError(metrics.status, metrics.body);
      const reading = counters.read(metrics.body, Date.now());
      draw(reading, ready);
      before = reading;
    } catch (error) {
      if (!abort.signal.aborted) fill(head, statePage(error, () => void look()));
    }
    if (!abort.signal.aborted) timer = setTimeout(() => void look(), INTERVAL_MS);
  };

  const draw = (reading: Reading, ready: Ready) => {
    const rate = (label: string) => (before ? counters.rate(before, reading, "spindle_writer_stored_items_total", label) : null);
    const waiting = counters.sum(reading, "spindle_writer_lag_messages");
    const [values, events] = [rate('kind="metric"'), rate('kind="event"')];
    const present = waiting === null ? ofReport(newest) : { waiting, stored: (values ?? 0) + (events ?? 0), isReady: ready.status === 200, letters: counters.sum(reading, "spindle_writer_dead_letters_in_stream") };
    fill(head, current.show(say(reading, ready, present, newest)));
    const stages = stagesOf(reading, before, ready, newest);
    const key = JSON.stringify(stages);
    if (key !== last) { last = key; fill(drawing, picture(stages, innerWidth < 1180)); }
    letters.show(present?.letters ?? null);
  };

  /** Asks for the newest report, whatever range is chosen; and for the lanes again while they end now. */
  const askNewest = async () => {
    asked = Date.now();
    const recent = await api.ask<History>("pipeline", { since_minutes: 60, bucket_seconds: 10 }, abort.signal).catch(() => null);
    newest = recent?.data[recent.data.length - 1] ?? null;
    if ("minutes" in app.place.range && !app.isPaused && !document.hidden) void load();
  };

  let loading = 0;
  const load = async () => {
    const own = ++loading;
    const { from, until } = span(app.place.range, api.now());
    const bucket = Math.max(10, Math.ceil((until - from) / 1000 / Math.min(480, Math.max(120, lanes.clientWidth - 240))));
    try {
      const answer = await api.ask<History>("pipeline", { ...windowOf(app.place.range), bucket_seconds: bucket }, abort.signal);
      if (own === loading) drawLanes(answer, { from, until, marks: [] });
    } catch (error) {
      if (own === loading && !abort.signal.aborted) fill(lanes, h("p", { class: "partial" }, error instanceof Error ? error.message : String(error)));
    }
  };

  const drawLanes = ({ data, bucket_seconds: bucketSeconds }: History, axis: Axis) => {
    for (const chart of charts) chart.close();
    charts = [];
    if (data.length === 0) { fill(lanes, h("p", { class: "muted pad" }, "No writer has reported in this range.")); return; }
    const timeAxis = new TimeAxis(axis);
    const lane = (key: string, title: string, unit: string, value: (bucket: PipelineBucket) => number | null) => new LaneChart({
      key, title, state: "ok", unit, bucketSeconds, expected: [], flagged: [], limits: [], silentSince: NaN, isCounter: false,
      buckets: data.flatMap((bucket) => { const each = value(bucket); return each === null ? [] : [{ time: bucket.time, min: each, mean: each, max: each, count: 1 }]; }),
    }, axis, h("span"), (a, b) => app.go({ range: { from: Math.round(a), until: Math.round(b) } }, "replace"), (at) => timeAxis.cursor(at));
    const sum = (a: number | null, b: number | null) => (a === null && b === null ? null : (a ?? 0) + (b ?? 0));
    charts = [
      lane("values_per_second", "Stored", "1/s", (bucket) => sum(bucket.values_per_second, bucket.events_per_second)),
      lane("metrics_lag", "Waiting", "messages", (bucket) => sum(bucket.metrics_lag, bucket.events_lag)),
      lane("store_latency_p99_seconds", "Store write, p99", "ms", ({ store_latency_p99_seconds: seconds }) => (seconds === null ? null : seconds * 1000)),
    ];
    fill(lanes, timeAxis.element, ...charts.map((chart) => chart.element), h("p", { class: "faint pad" }, "As the writers report it every 10 s."));
  };

  void look();
  void load();
  return {
    element, tick: () => current.tick(), move: () => void load(),
    close: () => { abort.abort(); letters.close(); clearTimeout(timer); for (const chart of charts) chart.close(); },
  };
}

/** State of the pipeline at present. */
interface Present { waiting: number; stored: number; isReady: boolean; letters: number | null }

/** What the writers reported last; `null` if that is too long ago. */
function ofReport(newest: PipelineBucket | null): Present | null {
  if (!newest || api.now() - words.millis(newest.time) > SILENT_MS) return null;
  return { waiting: (newest.metrics_lag ?? 0) + (newest.events_lag ?? 0), stored: (newest.values_per_second ?? 0) + (newest.events_per_second ?? 0), isReady: newest.ready === 1, letters: newest.dead_letters };
}

function say(reading: Reading, ready: Ready, present: Present | null, newest: PipelineBucket | null): { state: State; title: string; since: number; advice: null; rest: string } {
  const letters = present?.letters ?? null;
  // The list beside has them, if nothing counts them.
  const rest = letters === null ? "" : letters > 0 ? `${words.capital(words.counted(letters, "dead letter"))} ${letters === 1 ? "waits" : "wait"} for a decision.` : "No dead letters.";
  const base = { since: NaN, advice: null, rest };
  if (ready.status !== 200) return { ...base, state: "warning", title: "Not everything is ready", rest: `${words.capital(ready.body.trim())}. What arrives is kept in the streams. ${rest}` };
  if (present === null) {
    const at = words.millis(newest?.time);
    return { ...base, state: "silent", since: at, title: Number.isNaN(at) ? "No writer has reported in the last hour" : "The writers report nothing", rest: "Nothing is known of what arrives since then. If they are down, it is kept in the streams." };
  }
  if (!present.isReady) return { ...base, state: "warning", title: "A writer is not ready", rest: `What arrives is kept in the streams. ${rest}` };
  const dropped = counters.sum(reading, "spindle_daemon_dropped_items_total") ?? 0;
  if (dropped > 0) return { ...base, state: "critical", title: `${words.whole(dropped)} ${dropped === 1 ? "value was" : "values were"} given up before NATS took them`, rest: `Since this process started. ${rest}` };
  if (present.waiting > Math.max(50, SECONDS_BEHIND * present.stored)) return { ...base, state: "warning", title: `${words.whole(present.waiting)} messages wait to be stored`, rest: `Nothing is lost: the streams hold them. ${rest}` };
  return { ...base, state: "ok", title: present.stored === 0 && present.waiting > 0 ? "Nothing was stored in the last seconds" : "Everything that arrived is stored", rest };
}

/** What runs, with two or three facts each. */
function stagesOf(reading: Reading, before: Reading | null, ready: Ready, newest: PipelineBucket | null): Stage[] {
  const sum = (name: string, label?: string) => counters.sum(reading, name, label);
  const rate = (name: string, label?: string) => (before ? counters.rate(before, reading, name, label) : null);
  const perSecond = (value: number | null, noun: string) => (value === null ? "" : `${words.number(Math.round(value * 10) / 10)} ${noun}`);
  const quantile = (name: string) => { const value = counters.quantile(null, reading, name, 0.99); return value === null ? "–" : `≤ ${words.number(value * 1000)}\u2009ms`; };
  const stages: Stage[] = [];
  const has = (name: string) => sum(name) !== null;
  const isStoreAway = ready.status !== 200 && /store/.test(ready.body);
  if (has("spindle_daemon_collected_items_total")) {
    const dropped = sum("spindle_daemon_dropped_items_total") ?? 0;
    stages.push({ key: "daemon", title: "daemon", state: dropped > 0 ? "critical" : "ok", facts: [["held back", words.whole(sum("spindle_daemon_buffered_items") ?? 0)], ["given up", words.whole(dropped)]],
      out: { metrics: perSecond(rate("spindle_daemon_collected_items_total", 'kind="metric"'), "values/s"), events: perSecond(rate("spindle_daemon_collected_items_total", 'kind="event"'), "events/s"), rate: rate("spindle_daemon_collected_items_total", 'kind="metric"') ?? 0, eventRate: rate("spindle_daemon_collected_items_total", 'kind="event"') ?? 0 } });
  }
  for (const stream of ["EVENTS", "METRICS", "DEADLETTER"]) {
    const label = `stream="${stream}"`;
    const fill = sum("spindle_stream_fill_percent", label);
    if (fill === null) continue;
    const lag = sum("spindle_writer_lag_messages", label);
    const kept = sum("spindle_writer_dead_letters_in_stream") ?? 0;
    const facts: [string, string][] = stream === "DEADLETTER" ? [["kept", words.whole(kept)]] : [["waiting", lag === null ? "–" : words.whole(lag)], ["full", `${words.number(fill)} % of ${words.number(sum("spindle_stream_max_bytes", label))}B`]];
    stages.push({ key: stream, title: stream, state: stream === "DEADLETTER" ? (kept > 0 ? "warning" : "ok") : fill >= 90 ? "critical" : fill >= 75 ? "warning" : "ok", facts, fill: stream === "METRICS" ? fill / 100 : null });
  }
  if (has("spindle_detector_series")) stages.push({ key: "detector", title: "detector", state: "ok", facts: [["series", words.whole(sum("spindle_detector_series") ?? 0)]] });
  if (has("spindle_writer_stored_items_total")) {
    const stored = rate("spindle_writer_stored_items_total", 'kind="metric"');
    stages.push({ key: "writer", title: "writer", state: isStoreAway ? "warning" : "ok", facts: [["store write, p99", quantile("spindle_writer_store_write_duration_seconds")], ["redelivered", words.whole(sum("spindle_writer_redelivered_messages_total") ?? 0)]],
      out: { metrics: perSecond(stored, "values/s"), events: perSecond(rate("spindle_writer_stored_items_total", 'kind="event"'), "events/s"), rate: stored ?? 0, eventRate: rate("spindle_writer_stored_items_total", 'kind="event"') ?? 0 } });
    const size = sum("spindle_store_size_bytes");
    stages.push({ key: "store", title: "store", state: isStoreAway ? "warning" : "ok", facts: [size === null ? ["kind", "InfluxDB"] : ["embedded", `${words.number(size)}B`]], blocked: isStoreAway ? ready.body.trim() : null });
  }
  if (!has("spindle_writer_stored_items_total") && newest && ofReport(newest)) stages.push(...reported(newest).filter(({ key }) => !stages.some((stage) => stage.key === key)));
  stages.push({ key: "reader", title: "reader and page", state: "ok", facts: [["answer, p99", quantile("spindle_reader_query_duration_seconds")], ["open pages", words.whole(sum("spindle_web_open_connections") ?? 0)]] });
  return stages;
}

/** Streams and writers that run in other processes, as they report themselves. */
function reported(newest: PipelineBucket): Stage[] {
  const rate = (value: number | null, noun: string) => (value === null ? "" : `${words.number(Math.round(value * 10) / 10)} ${noun}`);
  const stream = (key: string, waiting: number | null): Stage => ({ key, title: key, state: "ok", facts: [["waiting", waiting === null ? "–" : words.whole(waiting)]] });
  const [letters, p99] = [newest.dead_letters, newest.store_latency_p99_seconds];
  return [
    stream("EVENTS", newest.events_lag), stream("METRICS", newest.metrics_lag),
    { key: "DEADLETTER", title: "DEADLETTER", state: (letters ?? 0) > 0 ? "warning" : "ok", facts: [["kept", letters === null ? "–" : words.whole(letters)]] },
    { key: "writer", title: newest.n_writers === 1 ? "writer" : `${newest.n_writers} writers`, state: newest.ready === 1 ? "ok" : "warning", facts: [["store write, p99", p99 === null ? "–" : `≤ ${words.number(p99 * 1000)}\u2009ms`]],
      out: { metrics: rate(newest.values_per_second, "values/s"), events: rate(newest.events_per_second, "events/s"), rate: newest.values_per_second ?? 0, eventRate: newest.events_per_second ?? 0 } },
    { key: "store", title: "store", state: "ok", facts: [] },
  ];
}
