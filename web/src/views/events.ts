/** Events: newest first, with a histogram, filters, and what happened around the chosen one. */

import * as api from "../api";
import { app } from "../app";
import type { View } from "../app";
import { span, windowOf } from "../address";
import { select } from "../controls";
import { dragRange } from "../drag_range";
import { fill, h, svg } from "../dom";
import { icon, shape, stateOf } from "../shapes";
import { steps } from "../lane_data";
import type { EventRow } from "../types";
import { verdict } from "../verdict";
import { statePage } from "../states";
import * as words from "../words";
import { linesOf } from "./event_lines";
import type { Folded, Line } from "./event_lines";
import { drawPane } from "./event_pane";

const PAGE = 500;
const ROW = 34;
const MARGIN_ROWS = 10;
/** Distance of the day from the top of the window: below the bar and the head of the table. */
const STUCK = 84;
const BINS = 96;
/** Most events of a bin that are drawn as blocks. */
const BLOCKS = 8;
/** Width of a tick of the histogram, in px. */
const TICK_WIDTH = 110;

interface Answer { data: EventRow[]; next: Record<string, unknown> | null; basis: { n_points: number } }

export function eventsView(): View {
  const head = h("div");
  const filters = h("div", { class: "tools" });
  const histogram = h("figure", { class: "histogram" });
  const body = h("div", { class: "event-rows", tabindex: "0", role: "listbox", "aria-label": "events, newest first" });
  const hint = h("p", { class: "muted" }, "Choose an event to see what happened around it.");
  const pane = h("aside", { class: "event-pane", "aria-label": "the chosen event" }, hint);
  const pill = h("button", { class: "control pill", hidden: true });
  /** Day of the first line on the screen, if its own line is above. */
  const stuck = h("div", { class: "event-stuck", "aria-hidden": "true" });
  const element = h("div", { class: "events" }, head, filters, histogram, h("div", { class: "event-columns" }, h("div", { class: "event-table" }, h("div", { class: "event-head muted" }, ...[`Time, ${words.zone(Date.now())}`, "Criticality", "Type", "Device", "Message"].map((text) => h("span", null, text))), pill, stuck, body), pane));
  let rows: EventRow[] = [];
  let waiting: EventRow[] = [];
  let lines: Line[] = [];
  /** Lines with a day. */
  let days: { index: number; day: string }[] = [];
  let next: Record<string, unknown> | null = null;
  let total = 0;
  let abort = new AbortController();
  let current = verdict();
  let isLoadingMore = false;
  let paneOf = "";
  let paneAbort = new AbortController();
  const isChosen = (row: EventRow) => row.event_id === app.place.options.sel;

  const params = () => {
    const { type, device, min } = app.place.options;
    return { ...windowOf(app.place.range), limit: PAGE, by: "time", ...(type ? { event_type: type } : {}), ...(device ? { source_device: device } : {}), ...(min ? { min_criticality: Number(min) } : {}) };
  };

  const load = async () => {
    abort.abort();
    abort = new AbortController();
    try {
      const answer = await api.ask<Answer>("events", params(), abort.signal);
      [rows, next, total, waiting] = [answer.data, answer.next, answer.basis.n_points, []];
      pill.hidden = true;
      draw();
    } catch (error) {
      if (!abort.signal.aborted) fill(body, statePage(error, () => void load()));
    }
  };

  const more = async () => {
    if (!next || isLoadingMore) return;
    isLoadingMore = true;
    try {
      const answer = await api.ask<Answer>("events", { ...params(), ...next }, abort.signal);
      rows = [...rows, ...answer.data];
      next = answer.next;
      arrange();
    } catch { /* The next scroll tries again. */ } finally { isLoadingMore = false; }
  };

  const draw = () => {
    current = verdict();
    fill(head, current.show(say(rows, total, next !== null)));
    drawFilters();
    arrange();
    drawHistogram();
    const chosen = rows.find(isChosen);
    pane.classList.toggle("open", chosen !== undefined);
    // New events change nothing in the pane: what it asks for is not asked again.
    if (paneOf === (chosen?.event_id ?? "")) return;
    paneOf = chosen?.event_id ?? "";
    paneAbort.abort();
    paneAbort = new AbortController();
    if (chosen) drawPane(pane, chosen, paneAbort.signal); else fill(pane, hint);
  };

  const drawFilters = () => {
    const { min = "", type = "", device = "" } = app.place.options;
    const level = (text: string, wanted: string, mark: SVGElement | null) => {
      const button = h("button", { "aria-pressed": min === wanted ? "true" : "false" }, mark, text);
      button.addEventListener("click", () => app.option("min", wanted));
      return button;
    };
    const types = [...new Set([...(type ? [type] : []), ...rows.map((row) => row.event_type)])].sort();
    const devices = [...new Set([...(device ? [device] : []), ...rows.map((row) => row.source_device)])].sort().slice(0, 500);
    const text = h("input", { class: "field", type: "search", placeholder: "Text in the message", "aria-label": "text in the message", value: app.place.options.q ?? "" });
    text.addEventListener("input", () => { app.place.options.q = text.value; app.option("q", text.value, "replace"); arrange(); });
    const pause = h("button", { class: "control" }, icon(app.isPaused ? "play" : "pause", 12), app.isPaused ? "Go on" : "Pause", h("kbd", null, "space"));
    pause.addEventListener("click", () => { app.isPaused = !app.isPaused; app.notify(); });
    const hadFocus = filters.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement;
    fill(filters, h("div", { class: "switch", role: "group", "aria-label": "criticality" }, level("All", "", null), level("5 and up", "5", shape("warning", 12)), level("8 and up", "8", shape("critical", 12))),
      select("Type", type, [["", "all"], ...types.map((each): [string, string] => [each, words.short(each, 30)])], (each) => app.option("type", each)),
      select("Device", device, [["", "all"], ...devices.map((each): [string, string] => [each, words.short(each, 40)])], (each) => app.option("device", each)), h("span", { class: "with-icon" }, icon("find", 14), text), h("span", { class: "grow" }), pause);
    if (hadFocus) { text.focus(); text.setSelectionRange(text.value.length, text.value.length); }
  };

  /** Folds equal events of one device within a minute, and puts a line before each day. */
  const arrange = () => {
    lines = linesOf(rows, app.place.options.q ?? "", api.now());
    days = lines.flatMap((line, index) => ("day" in line ? [{ index, day: line.day }] : []));
    drawRows();
  };

  const drawRows = () => {
    if (lines.length === 0) { body.style.height = ""; fill(stuck); fill(body, h("p", { class: "muted pad" }, rows.length === 0 ? "No events in this range." : "No message has this text.")); return; }
    const top = body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((60 - top) / ROW) - MARGIN_ROWS);
    const last = Math.min(lines.length, Math.ceil((innerHeight - top) / ROW) + MARGIN_ROWS);
    body.style.height = innerWidth < 720 ? "" : `${lines.length * ROW}px`;
    const isPhone = innerWidth < 720;
    const shown = isPhone ? lines.slice(0, Math.max(last, 100)) : lines.slice(first, last);
    fill(body, ...shown.map((line, at) => {
      const element = "day" in line ? h("div", { class: "event-day" }, line.day) : eventRow(line, isChosen(line.row));
      if (!isPhone) element.style.top = `${(first + at) * ROW}px`;
      return element;
    }));
    const above = [...days].reverse().find(({ index }) => index * ROW <= STUCK - top);
    fill(stuck, above && !isPhone ? h("div", { class: "event-day" }, above.day) : null);
    if (last > lines.length - 40) void more();
  };

  const drawHistogram = () => {
    const { from, until } = span(app.place.range, api.now());
    // Beyond the newest page nothing is known, so nothing is drawn there.
    const known = next ? words.millis(rows[rows.length - 1]?.time) : from;
    const bins = Array.from({ length: BINS }, () => ({ ok: 0, warning: 0, critical: 0 }));
    for (const row of rows) {
      const bin = bins[Math.min(BINS - 1, Math.floor(((words.millis(row.time) - from) / (until - from)) * BINS))];
      if (bin) bin[stateOf(row.criticality) as "ok" | "warning" | "critical"] += 1;
    }
    const most = Math.max(1, ...bins.map((bin) => bin.ok + bin.warning + bin.critical));
    const root = svg("svg", { viewBox: `0 0 ${BINS * 14} 48`, preserveAspectRatio: "none", role: "img", "aria-label": `${rows.length} events over the range` });
    const unit = most <= BLOCKS ? 6 : 46 / most;
    bins.forEach((bin, index) => {
      let y = 47;
      for (const kind of ["critical", "warning", "ok"] as const) {
        if (bin[kind] === 0) continue;
        const blocks = most <= BLOCKS ? bin[kind] : 1;
        for (let block = 0; block < blocks; block += 1) {
          const height = most <= BLOCKS ? 5 : Math.max(1.5, bin[kind] * unit);
          y -= most <= BLOCKS ? unit : height;
          root.append(svg("rect", { x: index * 14 + 1, y, width: 12, height, class: `seg ${kind === "ok" ? "note" : kind}` }));
        }
      }
    });
    if (known > from) root.append(svg("rect", { x: 0, y: 0, width: ((known - from) / (until - from)) * BINS * 14, height: 47, class: "unread" }));
    root.append(svg("path", { d: `M0 47.5H${BINS * 14}`, class: "axis-line" }));
    dragRange(root, [BINS * 14, 48], from, until);
    const width = histogram.clientWidth || 1200;
    const at = steps(from, until, Math.max(2, Math.floor(width / TICK_WIDTH)));
    const label = (time: number, text: string) => { const element = h("span", { class: "num" }, text); element.style.left = `${((time - from) / (until - from)) * 100}%`; return element; };
    const isLong = until - from > 2 * 86_400_000;
    const near = (until - from) * 0.04;
    fill(histogram, root, h("div", { class: "ticks faint" }, ...at.filter((time) => time < until - near).map((time) => label(time, isLong ? words.date(time).replace(/ \d{4}$/, "") : words.clock(time, time))), "minutes" in app.place.range ? h("span", { class: "now" }, "now") : null));
  };

  const choose = (row: EventRow) => app.option("sel", row.event_id, "replace");
  body.addEventListener("click", (event) => {
    const id = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-id]")?.dataset.id : undefined;
    const row = rows.find((each) => each.event_id === id);
    if (row) choose(row);
  });
  body.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const shown = lines.filter((line): line is Folded => "row" in line);
    const at = shown.findIndex((line) => isChosen(line.row));
    const to = shown[Math.max(0, Math.min(shown.length - 1, at + step))];
    if (to) choose(to.row);
  });
  pill.addEventListener("click", () => { scrollTo(0, 0); void load(); });
  const scrolled = () => drawRows();
  addEventListener("scroll", scrolled, { passive: true });
  let key = "";
  const keyOf = () => JSON.stringify([app.place.range, { ...app.place.options, sel: "", q: "" }]);
  key = keyOf();
  void load();

  return {
    element,
    move: () => { if (key === keyOf()) draw(); else { key = keyOf(); void load(); } },
    update: () => drawFilters(),
    missed: () => { if (scrollY < 40) void load(); else { pill.hidden = false; pill.textContent = "New events"; } },
    tick: () => current.tick(),
    events: (fresh) => {
      const { type, device, min } = app.place.options;
      // A stream that was resumed repeats its last seconds. Different events may share an id.
      const known = new Set([...rows, ...waiting].map(identity));
      const wanted = (fresh as EventRow[]).filter((row) => !known.has(identity(row)) && (!type || row.event_type === type) && (!device || row.source_device === device) && row.criticality >= Number(min ?? 1));
      if (wanted.length === 0 || !("minutes" in app.place.range)) return;
      // What the pointer is on does not move.
      if (scrollY < 40 && !body.matches(":hover")) { rows = [...wanted, ...rows].sort((a, b) => words.millis(b.time) - words.millis(a.time)); total += wanted.length; draw(); for (const row of wanted) body.querySelector(`[data-id="${CSS.escape(row.event_id)}"]`)?.classList.add("fresh"); } else {
        waiting = [...waiting, ...wanted];
        pill.hidden = false;
        pill.textContent = `${words.whole(waiting.length)} new`;
      }
    },
    key: (event) => {
      if (event.key === " ") { app.isPaused = !app.isPaused; app.notify(); return true; }
      if (event.key === "Escape" && app.place.options.sel) { app.option("sel", "", "replace"); return true; }
      return false;
    },
    close: () => { abort.abort(); paneAbort.abort(); removeEventListener("scroll", scrolled); },
  };
}

function identity(row: EventRow): string { return JSON.stringify([row.event_id, row.source_device, row.event_type, row.time]); }

function eventRow({ row, n }: Folded, isChosen: boolean): HTMLElement {
  const state = stateOf(row.criticality);
  const at = words.millis(row.time);
  return h("div", { class: `event-row ${isChosen ? "chosen" : ""}`, role: "option", "aria-selected": isChosen ? "true" : "false", "data-id": row.event_id },
    h("time", { class: "num muted", datetime: row.time, title: row.time }, words.precise(at)), h("span", { class: `crit ${state}` }, shape(state, 12), h("b", { class: "num" }, String(row.criticality))),
    h("span", { class: "strong cut" }, words.name(row.event_type), n > 1 ? h("span", { class: "muted num" }, ` × ${n}`) : ""), h("span", { class: "cut", dir: "auto", title: row.source_device }, words.short(row.source_device, 40)), h("span", { class: "muted cut message", dir: "auto" }, words.message(row, api.now())));
}

function say(rows: EventRow[], total: number, hasMore: boolean): { state: "critical" | "warning" | "ok"; title: string; since: number; advice: null; rest: string } {
  const critical = rows.filter((row) => row.criticality >= 8);
  const warning = rows.some((row) => row.criticality >= 5);
  const range = app.place.range;
  const time = "minutes" in range ? (range.minutes === 1440 ? "in 24\u2009h" : range.minutes > 525_600 ? "on record" : `in ${words.duration(range.minutes * 60)}`) : "in this range";
  const sources = new Set(critical.map((row) => row.source_device));
  const [first] = critical;
  const [only] = sources;
  const last = first ? `the last was ${words.duration((api.now() - words.millis(first.time)) / 1000)} ago` : "";
  const rest = critical.length === 0 ? hasMore ? "None of the newest is critical." : "None of them is critical." : sources.size === 1 && critical.length > 1 ? `The critical ones all come from ${words.name(only ?? "")}; ${last}.` : `${words.capital(last)}, from ${words.name(first?.source_device ?? "")}.`;
  const known = Math.max(total, rows.length);
  return {
    state: critical.length > 0 ? "critical" : warning ? "warning" : "ok", since: NaN, advice: null, rest: known === 0 ? "" : `${rest}${"minutes" in range && !app.isPaused ? " New events appear at the top." : ""}`,
    title: known === 0 ? `No events ${time}` : `${hasMore ? "More than " : ""}${words.whole(hasMore ? rows.length : known)} ${known === 1 ? "event" : "events"} ${time}${critical.length > 0 ? `, ${hasMore ? "at least " : ""}${words.whole(critical.length)} critical` : ""}`,
  };
}
