/** Beside the lanes: the shelf with this bay, and the device among its peers. */

import * as api from "../api";
import { h, svg } from "../dom";
import type { Fleet } from "../fleet_model";
import { shape, stateOf } from "../shapes";
import type { EventRow } from "../types";
import * as words from "../words";

const MAX_BAYS = 96;
const COMPARED = ["Latency", "DiskTemp", "IOPs"];
const MAX_EVENTS = 8;
/** Events of one question: more are "100 newest". */
const ASKED_EVENTS = 100;

/** The newest events of the device. */
export function eventList(device: string, events: EventRow[]): HTMLElement {
  const href = `/events?device=${encodeURIComponent(device)}`;
  return h("section", null, h("div", { class: "side-head" }, h("h2", null, "Events"), h("a", { class: "muted link", href, "data-link": true, "data-key": "events" }, `${events.length === ASKED_EVENTS ? "100 newest" : words.whole(events.length)} in the range`)),
    events.length === 0 ? h("p", { class: "muted" }, "None in this range.") : h("ul", { class: "side-events" }, ...events.slice(0, MAX_EVENTS).map((event) => h("li", null,
      h("time", { class: "num muted", datetime: event.time, title: event.time }, words.clock(words.millis(event.time), api.now()).replace("yesterday ", "")), shape(stateOf(event.criticality), 11),
      h("span", { class: "cut", title: words.name(event.event_message ?? "") }, h("b", null, words.name(event.event_type)), " ", h("span", { class: "muted" }, words.message(event, api.now())))))));
}

/** Labels, with sizes and times of operation as people read them. */
export function labelList(labels: Record<string, string>): HTMLElement | null {
  const entries = Object.entries(labels);
  if (entries.length === 0) return null;
  return h("section", null, h("h2", null, "Labels"), h("dl", { class: "labels" }, ...entries.flatMap(([key, text]) => {
    const isSize = /_bytes$/.test(key) && /^\d+$/.test(text);
    return [h("dt", { class: "muted" }, words.name(isSize ? key.replace(/_bytes$/, "") : key).replace(/_/g, " ")), h("dd", { dir: "auto", title: words.name(text) }, isSize ? `${words.number(Number(text))}B` : words.name(text))];
  })));
}

export function shelf(fleet: Fleet, device: string): HTMLElement | null {
  const own = fleet.find(device);
  const enclosure = own === undefined ? undefined : fleet.label(own, "enclosure");
  if (own === undefined || enclosure === undefined) return null;
  const members = fleet.all().filter((index) => fleet.label(index, "enclosure") === enclosure).sort((a, b) => fleet.compareByPlace(a, b));
  const others = members.filter((index) => index !== own);
  const bad = others.filter((index) => !["ok", "asleep"].includes(fleet.state(index))).length;
  const bay = fleet.label(own, "bay");
  const note = [bay && `bay ${bay}`, others.length === 0 ? "" : bad === 0 ? (others.length === 1 ? "the other one is ok" : `the other ${others.length} are ok`) : `${bad} of the other ${others.length} ${bad === 1 ? "is" : "are"} not ok`].filter(Boolean).join("; ");
  return h("section", null, h("div", { class: "side-head" }, h("h2", { dir: "auto" }, words.short(enclosure, 24)), h("span", { class: "muted" }, note)),
    h("div", { class: "shelf" }, ...members.slice(0, MAX_BAYS).map((index) => {
      const name = fleet.device(index);
      return h("a", { href: `/device/${encodeURIComponent(name)}`, "data-link": true, class: `bay ${fleet.state(index)} ${index === own ? "own" : ""}`, title: words.name(name), "data-key": `bay ${name}`, ...(index === own ? { "aria-current": "true" } : {}) }, shape(fleet.state(index), 10, fleet.trouble(index)?.acknowledged), h("span", { class: "num" }, fleet.label(index, "bay") ?? words.short(name.slice(-3), 4)));
    })));
}

/** A strip of dots for each metric: the cohort, and this device among it. */
export function peers(fleet: Fleet, device: string): HTMLElement | null {
  const own = fleet.find(device);
  if (own === undefined) return null;
  const same = (key: string) => { const label = fleet.label(own, key); return label === undefined ? [] : fleet.all().filter((index) => index !== own && fleet.label(index, key) === label && fleet.label(index, "class") === fleet.label(own, "class")); };
  const cohort = same("enclosure").length >= 3 ? same("enclosure") : same("model");
  if (cohort.length < 3) return null;
  const strips = COMPARED.map((metric) => strip(fleet, own, cohort, metric)).filter((each) => each !== null);
  return strips.length === 0 ? null : h("section", null, h("div", { class: "side-head" }, h("h2", null, `Against its ${cohort.length} peers`), h("span", { class: "muted" }, "now")), ...strips);
}

function strip(fleet: Fleet, own: number, cohort: number[], metric: string): HTMLElement | null {
  const value = fleet.value(own, metric);
  const values = cohort.filter((index) => !fleet.isSilent(index)).map((index) => fleet.value(index, metric)).filter((each): each is number => each !== null).sort((a, b) => a - b);
  if (value === null || values.length < 3 || fleet.isSilent(own)) return null;
  const unit = fleet.unit(metric);
  const median = values[Math.floor(values.length / 2)] ?? 0;
  const [low, high] = [Math.min(value, values[0] ?? value), Math.max(value, values[values.length - 1] ?? value)];
  const x = (each: number) => 6 + (high > low ? ((each - low) / (high - low)) * 328 : 164);
  const root = svg("svg", { viewBox: "0 0 340 31", class: "strip", "aria-hidden": "true" }, svg("path", { d: "M0 21.5H340", class: "axis-line" }));
  const stacks = new Map<number, number>();
  for (const each of values.slice(0, 200)) {
    const bin = Math.round(x(each) / 5);
    const height = stacks.get(bin) ?? 0;
    stacks.set(bin, height + 1);
    root.append(svg("circle", { cx: x(each), cy: 21 - Math.min(height, 4) * 4, r: 2.4, class: "peer" }));
  }
  // A disc among discs would be lost: from 18 px on it has its tick.
  const size = ["ok", "asleep"].includes(fleet.state(own)) ? 18 : 13;
  const mark = shape(fleet.state(own), size, fleet.trouble(own)?.acknowledged);
  mark.setAttribute("x", String(Math.max(0, Math.min(340 - size, x(value) - size / 2))));
  mark.setAttribute("y", String(21 - size / 2 - 1));
  root.append(mark);
  return h("div", { class: "peer-row" }, h("div", { class: "side-head" }, h("span", { class: "muted" }, words.metric(metric)), h("span", null, h("b", { class: "num" }, words.value(value, unit)), h("span", { class: "muted" }, `, median ${words.value(median, unit)} ${unit ?? ""}`))), root);
}
