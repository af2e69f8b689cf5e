/** The list: incidents, worst first, and devices that need attention without being part of one. */

import { now } from "../api";
import { app } from "../app";
import { h } from "../dom";
import type { Fleet } from "../fleet_model";
import { icon, shape } from "../shapes";
import { ribbon } from "../spark";
import type { Incident, State } from "../types";
import * as words from "../words";

export interface Row {
  key: string;
  state: State;
  acknowledged: boolean;
  title: string;
  place: string;
  devices: string[];
  since: number;
  reason: string;
  advice: string | null;
  fact: string;
}

const FIRST = 6;
/** Single devices with one reason from which on they are one row. */
const MIN_FOLDED = 4;
/** Rows of what to watch next while nothing needs attention. */
const MAX_WATCHED = 3;

/** One row a cause; silent devices of one place are one row. */
export function rows(fleet: Fleet, incidents: Incident[]): Row[] {
  const open = incidents.filter((each) => each.state !== "closed");
  const covered = new Set(open.flatMap((each) => each.devices));
  const result = open.map((each) => ofIncident(fleet, each));
  const rest = new Map<string, number[]>();
  for (const index of fleet.needy()) {
    if (covered.has(fleet.device(index))) continue;
    const state = fleet.state(index);
    const at = state === "silent" || state === "unknown" ? fleet.label(index, "enclosure") ?? fleet.label(index, "host") ?? fleet.device(index) : fleet.device(index);
    const key = `${state} ${at}`;
    const members = rest.get(key);
    if (members) members.push(index); else rest.set(key, [index]);
  }
  for (const [key, members] of rest) result.push(ofDevices(fleet, key, members));
  const rank: Record<State, number> = { critical: 0, warning: 1, silent: 2, unknown: 3, asleep: 4, ok: 5 };
  return fold(result, fleet).sort((a, b) => rank[a.state] - rank[b.state] || Number(a.acknowledged) - Number(b.acknowledged) || b.devices.length - a.devices.length || a.since - b.since);
}

/** One cause is one row: single devices with the same reason, whatever its figures. */
function fold(all: Row[], fleet: Fleet): Row[] {
  const alike = new Map<string, Row[]>();
  for (const row of all) {
    const key = row.devices.length > 1 || row.reason === "" ? row.key : `${row.state} ${row.acknowledged} ${row.advice} ${row.reason.replace(/[\d.,\u2009\u202f]+/g, "#")}`;
    alike.set(key, [...(alike.get(key) ?? []), row]);
  }
  return [...alike].flatMap(([key, rows]) => {
    const [first] = rows;
    if (!first || rows.length < MIN_FOLDED) return rows;
    const devices = rows.flatMap((row) => row.devices);
    const indices = devices.flatMap((device) => fleet.find(device) ?? []);
    const places = new Set(indices.map((index) => fleet.label(index, "enclosure")));
    const nouns = new Set(indices.map((index) => fleet.noun(index)));
    const [noun] = nouns;
    const since = rows.map((row) => row.since).filter((each) => !Number.isNaN(each));
    const title = words.capital(words.counted(rows.length, `single ${nouns.size === 1 && noun ? noun : "device"}`));
    return [{ ...first, key, devices, title, place: `in ${words.counted(places.size, "place")}`, since: since.length > 0 ? Math.min(...since) : NaN, fact: `first ${words.name(first.title)}` }];
  });
}

/** What was wrong last, while nothing is. */
function ended(incidents: Incident[]): HTMLElement[] {
  const closed = incidents.filter((each) => each.state === "closed" && each.until).sort((a, b) => words.millis(b.until) - words.millis(a.until));
  return closed.slice(0, MAX_WATCHED).map((each) => h("li", null, h("a", { href: `/device/${encodeURIComponent(each.source_device)}`, "data-link": true },
    shape("ok", 14), h("div", { class: "row-main" },
      h("div", { class: "row-head" }, h("b", { dir: "auto", title: each.source_device }, words.short(each.source_device, 42)), h("span", { class: "muted place" }, words.place(each.place)), h("span", { class: "grow" }), h("span", { class: "num muted" }, `over since ${words.clock(words.millis(each.until), now())}`)),
      h("p", { class: "muted reason" }, each.reasons[0] ? words.reason(each.reasons[0].why, now()) : each.cause)))));
}

function ofIncident(fleet: Fleet, incident: Incident): Row {
  const [first] = incident.reasons;
  const isMany = incident.devices.length > 1;
  const place = words.place(incident.place);
  const index = fleet.find(incident.source_device);
  const state: State = incident.health === "critical" ? "critical" : "warning";
  return {
    key: incident.id, state, acknowledged: incident.state === "acknowledged",
    title: isMany ? place || words.name(incident.source_device) : words.name(incident.source_device),
    place: isMany ? words.counted(incident.devices.length, index === undefined ? "device" : fleet.noun(index)) : place,
    devices: incident.devices, since: words.millis(incident.since), reason: first ? words.reason(first.why, now()) : incident.cause,
    advice: incident.advice, fact: serial(incident.source_device),
  };
}

function ofDevices(fleet: Fleet, key: string, members: number[]): Row {
  const first = members[0] ?? 0;
  const trouble = fleet.trouble(first);
  const state = fleet.state(first);
  const devices = members.map((index) => fleet.device(index));
  const group = fleet.label(first, "enclosure") ?? fleet.label(first, "host") ?? "";
  const since = members.map((index) => fleet.trouble(index)?.since ?? NaN).filter((each) => !Number.isNaN(each));
  const heard = fleet.heard(first);
  const fallback = state === "silent" && heard !== null ? fleet.until - heard * 1000 : NaN;
  return {
    key, state, acknowledged: trouble?.acknowledged ?? false,
    title: members.length > 1 ? `${words.name(group)}, ${members.length} ${words.plural(fleet.noun(first))}` : words.name(fleet.device(first)),
    place: members.length > 1 ? words.short(devices.slice(0, 2).join(", "), 40) : fleet.place(first),
    devices, since: since.length > 0 ? Math.min(...since) : fallback, reason: trouble?.reason ?? "", advice: trouble?.advice ?? null,
    fact: state === "silent" && heard !== null ? `last value ${words.clock(fleet.until - heard * 1000, now(), true)}` : serial(fleet.device(first)),
  };
}

/** MODEL_SERIAL has its serial behind the last underline. */
function serial(device: string): string {
  const at = device.lastIndexOf("_");
  return at > 0 && !device.includes(":") ? `serial ${words.name(device.slice(at + 1))}` : "";
}

export class FleetList {
  readonly element = h("section", { class: "list", "aria-label": "Needs attention" });
  private isOpen = false;
  private lastKey = "";
  private durations: { element: HTMLElement; since: number }[] = [];

  constructor(private readonly onRing: (devices: string[]) => void) {}

  show(fleet: Fleet, incidents: Incident[]): void {
    const all = rows(fleet, incidents);
    const key = JSON.stringify([this.isOpen, all, all.length === 0 ? incidents : 0, app.place.range]);
    // Unchanged rows keep their focus and their ribbons.
    if (key === this.lastKey) return;
    this.lastKey = key;
    this.durations = [];
    const shown = this.isOpen ? all : all.slice(0, FIRST);
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    this.element.replaceChildren(
      all.length === 0
        ? h("div", { class: "list-head" }, h("h2", null, "Nothing needs attention"), h("span", { class: "muted" }, incidents.some((each) => each.state === "closed") ? "next to watch: what was wrong last" : ""))
        : h("div", { class: "list-head" }, h("h2", null, "Needs attention"), h("span", { class: "muted" }, all.length === 1 ? "" : `${words.whole(all.length)}, worst first`)),
      h("ol", null, ...(all.length > 0 ? shown.map((row) => this.row(row)) : ended(incidents))),
    );
    if (all.length > shown.length) {
      const more = h("button", { class: "more muted" }, `${words.whole(all.length - shown.length)} more`);
      more.addEventListener("click", () => { this.isOpen = true; this.show(fleet, incidents); });
      this.element.append(more);
    }
    if (focused) [...this.element.querySelectorAll<HTMLElement>("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
  }

  highlight(device: string | null): void {
    for (const item of this.element.querySelectorAll<HTMLElement>("li a")) item.classList.toggle("rung", device !== null && (item.dataset.devices ?? "").split("\n").includes(device));
  }

  tick(): void {
    for (const { element, since } of this.durations) element.textContent = words.duration((now() - since) / 1000);
  }

  private row(row: Row): HTMLElement {
    const time = h("span", { class: "num duration", title: Number.isNaN(row.since) ? "" : `since ${words.clock(row.since, now())}` });
    if (!Number.isNaN(row.since)) this.durations.push({ element: time, since: row.since });
    time.textContent = Number.isNaN(row.since) ? "" : words.duration((now() - row.since) / 1000);
    const target = row.devices[0] ?? "";
    const link = h("a", { href: `/device/${encodeURIComponent(target)}`, "data-key": row.key, "data-devices": row.devices.join("\n") },
      shape(row.state, 14, row.acknowledged),
      h("div", { class: "row-main" },
        h("div", { class: "row-head" }, h("b", { dir: "auto", title: row.title }, words.short(row.title, 42)), h("span", { class: "muted place" }, row.place), h("span", { class: "grow" }), time),
        h("p", { class: "muted reason" }, row.reason),
        h("div", { class: "row-foot" }, row.advice ? h("span", { class: "advice" }, icon("arrow", 12), h("span", null, words.capital(row.advice.replace(/\.$/, "")))) : "", h("span", { class: "muted fact" }, row.fact), h("span", { class: "grow" }), ribbon(target)),
      ));
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      app.go({ view: "device", subject: target, options: {} });
    });
    for (const name of ["mouseenter", "focus"]) link.addEventListener(name, () => this.onRing(row.devices));
    for (const name of ["mouseleave", "blur"]) link.addEventListener(name, () => this.onRing([]));
    return h("li", null, link);
  }
}
