/** Pipeline: is everything stored, and where does it wait. */

import * as api from "../api";
import type { View } from "../app";
import * as counters from "../counters";
import type { Reading } from "../counters";
import { fill, h } from "../dom";
import { LaneChart, TimeAxis } from "../lanes";
import { shape } from "../shapes";
import type { State } from "../types";
import { statePage } from "../states";
import { verdict } from "../verdict";
import * as words from "../words";
import { DeadLetters } from "./dead_letters";
import { picture } from "./pipeline_picture";
import type { Stage } from "./pipeline_picture";

const INTERVAL_MS = 2000;
/** Readings kept: half an hour. */
const KEPT = 900;
/** Messages that wait without meaning anything: those of the last moments. */
const SECONDS_BEHIND = 3;

interface Point { at: number; stored: number; waiting: number; write: number | null }

export function pipelineView(): View {
  const head = h("div");
  const drawing = h("div", { class: "picture" });
  const lanes = h("div", { class: "lanes" });
  const letters = new DeadLetters();
  const element = h("div", { class: "pipeline" }, head, drawing, h("div", { class: "pipeline-columns" }, lanes, letters.element));
  let before: Reading | null = null;
  const points: Point[] = [];
  let charts: LaneChart[] = [];
  let timer = 0;
  let isClosed = false;
  let last = "";
  const current = verdict();

  const look = async () => {
    try {
      const [metrics, ready] = await Promise.all([api.text("/metrics"), api.text("/readyz")]);
      if (isClosed) return;
      if (metrics.status !== 200) throw new api.AnswerError(metrics.status, metrics.body);
      const reading = counters.read(metrics.body, Date.now());
      draw(reading, ready);
      before = reading;
    } catch (error) {
      if (!isClosed) fill(head, statePage(error, () => void look()));
    }
    if (!isClosed) timer = setTimeout(() => void look(), INTERVAL_MS);
  };

  const draw = (reading: Reading, ready: { status: number; body: string }) => {
    const rate = (name: string, label?: string) => (before ? counters.rate(before, reading, name, label) : null);
    const stored = rate("spindle_writer_stored_items_total", 'kind="metric"');
    const storedEvents = rate("spindle_writer_stored_items_total", 'kind="event"');
    const waiting = counters.sum(reading, "spindle_writer_lag_messages");
    const write = counters.quantile(before, reading, "spindle_writer_store_write_duration_seconds", 0.99);
    if (stored !== null && waiting !== null) points.push({ at: reading.at, stored: stored + (storedEvents ?? 0), waiting, write });
    if (points.length > KEPT) points.shift();
    const said = say(reading, ready, waiting, points);
    fill(head, current.show(said));
    const stages = stagesOf(reading, before, ready);
    const key = JSON.stringify(stages);
    if (key !== last) { last = key; fill(drawing, picture(stages, innerWidth < 1180)); }
    if (points.length % 5 === 2 || points.length === 2) drawLanes();
    letters.show(counters.sum(reading, "spindle_writer_dead_letters_in_stream"));
  };

  const drawLanes = () => {
    const [first, newest] = [points[0], points[points.length - 1]];
    if (!first || !newest) return;
    for (const chart of charts) chart.close();
    const axis = { from: Math.min(first.at, newest.at - 120_000), until: newest.at, marks: [] };
    const timeAxis = new TimeAxis(axis);
    const lane = (title: string, unit: string, value: (point: Point) => number | null) => new LaneChart({
      key: title, title, state: "ok", unit, bucketSeconds: INTERVAL_MS / 1000, expected: [], flagged: [], limits: [], silentSince: NaN, isCounter: false,
      buckets: points.flatMap((point) => { const each = value(point); return each === null ? [] : [{ time: new Date(point.at).toISOString(), min: each, mean: each, max: each, count: 1 }]; }),
    }, axis, h("span"), () => undefined, (at) => timeAxis.cursor(at));
    charts = [lane("Stored", "1/s", (point) => point.stored), lane("Waiting", "messages", (point) => point.waiting), lane("Store write, p99", "ms", (point) => (point.write === null ? null : point.write * 1000))];
    fill(lanes, timeAxis.element, ...charts.map((chart) => chart.element), h("p", { class: "faint pad" }, "Since this page was opened."));
  };

  void look();
  return {
    element, tick: () => current.tick(),
    close: () => { isClosed = true; letters.close(); clearTimeout(timer); for (const chart of charts) chart.close(); },
  };
}

function say(reading: Reading, ready: { status: number; body: string }, waiting: number | null, points: Point[]): { state: State; title: string; since: number; advice: null; rest: string } {
  const letters = counters.sum(reading, "spindle_writer_dead_letters_in_stream");
  // A process without a writer does not count them; the list beside has them.
  const rest = letters === null ? "" : letters > 0 ? `${words.capital(words.counted(letters, "dead letter"))} ${letters === 1 ? "waits" : "wait"} for a decision.` : "No dead letters.";
  const base = { since: NaN, advice: null, rest };
  if (ready.status !== 200) return { ...base, state: "warning", title: "Not everything is ready", rest: `${words.capital(ready.body.trim())}. What arrives is kept in the streams. ${rest}` };
  if (waiting === null) return { ...base, state: "unknown", title: "The writer runs elsewhere", rest: `This process does not count what is stored. ${rest}` };
  const dropped = counters.sum(reading, "spindle_daemon_dropped_items_total") ?? 0;
  if (dropped > 0) return { ...base, state: "critical", title: `${words.whole(dropped)} ${dropped === 1 ? "value was" : "values were"} given up before NATS took them`, rest: `Since this process started. ${rest}` };
  const newest = points[points.length - 1];
  const isBehind = waiting > Math.max(50, SECONDS_BEHIND * (newest?.stored ?? 0));
  if (isBehind) return { ...base, state: "warning", title: `${words.whole(waiting)} messages wait to be stored`, rest: `Nothing is lost: the streams hold them. ${rest}` };
  if ((newest?.stored ?? 0) === 0) return { ...base, state: "ok", title: waiting === 0 ? "Everything that arrived is stored" : "Nothing was stored in the last seconds", rest };
  return { ...base, state: "ok", title: "Everything that arrived is stored", rest };
}

/** What runs, with two or three facts each. */
function stagesOf(reading: Reading, before: Reading | null, ready: { status: number; body: string }): Stage[] {
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
  stages.push({ key: "reader", title: "reader and page", state: "ok", facts: [["answer, p99", quantile("spindle_reader_query_duration_seconds")], ["open pages", words.whole(sum("spindle_web_open_connections") ?? 0)]] });
  return stages;
}

void shape;
