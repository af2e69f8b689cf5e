/** The chosen event: all of it, how it arrived, and what else happened around it. */

import * as api from "../api";
import { app } from "../app";
import { fill, h } from "../dom";
import { icon, shape, stateOf } from "../shapes";
import type { EventRow } from "../types";
import * as words from "../words";

interface Answer { data: EventRow[]; next: Record<string, unknown> | null }

const [AROUND_MS, DAY_MS] = [300_000, 86_400_000];
const [MOST_AROUND, MOST_SAME] = [40, 500];

export function drawPane(pane: HTMLElement, row: EventRow, signal: AbortSignal): void {
  const at = words.millis(row.time);
  const lag = (words.millis(row.received) - at) / 1000;
  const index = app.fleet?.find(row.source_device);
  const place = index === undefined ? "" : app.fleet?.place(index) ?? "";
  const fact = (term: string, value: Node | string) => [h("dt", { class: "muted" }, term), h("dd", { class: "num" }, value)];
  const open = h("a", { class: "control", href: `/device/${encodeURIComponent(row.source_device)}`, "data-link": true }, "Open device");
  const only = h("button", { class: "control" }, "Only this type");
  only.addEventListener("click", () => app.option("type", row.event_type));
  const copy = h("button", { class: "control" }, icon("copy", 14), "JSON");
  copy.addEventListener("click", () => { void navigator.clipboard.writeText(JSON.stringify(row, null, 2)); copy.lastChild?.replaceWith("Copied"); });
  const close = h("button", { class: "pane-close quiet", "aria-label": "close" }, icon("close", 16));
  close.addEventListener("click", () => app.option("sel", "", "replace"));
  const around = h("ul", { class: "side-events" });
  const same = h("span", null, "–");
  fill(pane, h("div", { class: "pane-head" }, shape(stateOf(row.criticality), 20), h("div", null, h("h2", null, words.name(row.event_type)), h("p", { class: "muted" }, h("bdi", null, words.name(row.source_device)), place ? `, ${place}` : "")), close),
    h("p", { class: "pane-message", dir: "auto" }, words.message(row, api.now()) || "No message."),
    h("dl", { class: "labels" }, fact("criticality", `${row.criticality} of 10`), fact("happened", h("time", { datetime: row.time, title: row.time }, `${words.date(at).replace(/ \d{4}$/, "")} ${words.precise(at)} `, h("span", { class: "muted" }, words.zone(at)))), fact("received", Number.isFinite(lag) ? lagText(lag) : "–"), fact("same kind, 24 h", same)),
    h("div", { class: "row wrap" }, open, only, copy), h("h3", null, "Five minutes around it"), around, h("pre", { class: "code", tabindex: "0", "aria-label": "the event as JSON" }, JSON.stringify(row, null, 2)));
  const iso = (time: number) => new Date(time).toISOString();
  api.ask<Answer>("events", { from: iso(at - AROUND_MS), until: iso(at + AROUND_MS), limit: MOST_AROUND, by: "time" }, signal)
    .then((answer) => fill(around, ...answer.data.map((each) => aroundRow(each, each.event_id === row.event_id)))).catch(() => fill(around, h("li", { class: "muted" }, "could not be read")));
  // Up to the event itself: its last day.
  api.ask<Answer>("events", { source_device: row.source_device, event_type: row.event_type, from: iso(at - DAY_MS), until: iso(at + 1), limit: MOST_SAME, by: "time" }, signal)
    .then((answer) => { same.textContent = `${answer.next ? `more than ${MOST_SAME}` : words.whole(answer.data.length)} from this device`; }).catch(() => undefined);
}

function aroundRow(each: EventRow, isOwn: boolean): HTMLElement {
  return h("li", { class: isOwn ? "own" : "", title: words.name(each.event_message ?? "") }, h("time", { class: "num muted", datetime: each.time }, words.precise(words.millis(each.time)).slice(0, 8)), shape(stateOf(each.criticality), 11),
    h("span", { class: "cut" }, h("b", null, words.name(each.event_type)), " ", h("span", { class: "muted" }, isOwn ? "this event" : h("bdi", null, words.name(each.source_device)))));
}

function lagText(lag: number): string {
  if (Math.abs(lag) < 60) return `${lag.toFixed(2).replace("-", "−")}\u2009s later`;
  return `${words.duration(Math.abs(lag))} ${lag < 0 ? "earlier" : "later"}`;
}
