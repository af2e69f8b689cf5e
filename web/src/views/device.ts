/** Device: the verdict, why, and one lane for each metric, sorted by evidence. */

import * as api from "../api";
import { app } from "../app";
import type { View } from "../app";
import { span, windowOf } from "../address";
import { acknowledge } from "../decide";
import { fill, h } from "../dom";
import { grafanaLink } from "../grafana";
import type { Child } from "../dom";
import type { Axis } from "../lanes";
import { icon, shape } from "../shapes";
import type { DeviceHealth, EventRow, Segment, State } from "../types";
import { verdict } from "../verdict";
import * as words from "../words";
import { DeviceLanes, order } from "./device_lanes";
import { eventList, labelList, peers, shelf } from "./device_side";
import { notes, why } from "./device_why";
import { asExpected } from "./why_words";
import { loading as skeleton, notFound, statePage } from "../states";

export interface DeviceRow { source_device: string; labels: Record<string, string>; metrics: Record<string, { value: number | null; unit?: string; time: string; note?: string }> }
interface HealthAnswer { data: DeviceHealth }
interface History { data: Segment[] }
interface Answers { health: DeviceHealth; row: DeviceRow | null; history: Segment[]; events: EventRow[]; scoreBefore: number | null }

const RELOAD_MS = 10_000;
const DAY_MS = 86_400_000;
const LOADING_MS = 300;
/** Longest name in a line of facts. */
const MAX_NAME = 36;

export function deviceView(): View {
  const [crumbBox, headBox, whyBox, notesBox, side] = [h("div"), h("div"), h("div"), h("div"), h("aside", { class: "device-side", "aria-label": "place, peers, events, labels" })];
  const expectedLine = h("p", { class: "as-expected waits" }, shape("ok", 12), h("span"));
  const usual = new Set<string>();
  const lanes = new DeviceLanes((metric, isExpected) => {
    if (isExpected) usual.add(metric); else usual.delete(metric);
    expectedLine.classList.toggle("waits", usual.size === 0);
    const text = expectedLine.querySelector("span");
    if (text) text.textContent = asExpected(order([...usual], []));
  });
  const body = [crumbBox, headBox, h("div", { class: "device-columns" }, h("div", null, whyBox, notesBox, expectedLine, lanes.element), side)];
  const element = h("div", { class: "device" });
  let abort = new AbortController();
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
    const timer = setTimeout(() => { if (loaded !== name) fill(element, skeleton()); }, LOADING_MS);
    try {
      const found = await ask(name, signal);
      if (signal.aborted) return;
      reloaded = Date.now();
      loaded = name;
      if (found.row === null && found.events.length === 0) { fill(element, notFound("No metric and no event of this device is stored.")); return; }
      draw(found, signal);
    } catch (error) {
      if (signal.aborted || isQuiet) return;
      fill(element, statePage(error, () => void load()));
    } finally {
      clearTimeout(timer);
      if (!signal.aborted) loading = null;
    }
  };

  const draw = ({ health, row, history, events, scoreBefore }: Answers, signal: AbortSignal) => {
    if (crumbBox.parentElement !== element) fill(element, ...body);
    const state = stateOfDevice(health, row);
    const labels = row?.labels ?? {};
    const silentSince = state === "silent" ? words.millis(health.last_received ?? health.last_seen) : NaN;
    const again = () => void load(true);
    head = verdict();
    replace(crumbBox, crumbs(health.device, labels));
    const header = head.show({ state, ...sentence(health, state), since: state === "silent" ? NaN : words.millis(health.since ?? startOf(health)), rest: "", more: facts(health, state, labels, scoreBefore) }, buttons(health, state, again));
    if (health.acknowledged) header.querySelector(".shape")?.replaceWith(shape(state, 26, true));
    replace(headBox, header);
    replace(whyBox, why(health, row?.metrics ?? {}, again));
    replace(notesBox, notes(health));
    expectedLine.hidden = !Number.isNaN(silentSince);
    replace(side, app.fleet && shelf(app.fleet, health.device), app.fleet && peers(app.fleet, health.device), eventList(health.device, events), labelList(labels));
    const axis: Axis = { ...span(app.place.range, api.now()), marks: events.filter((event) => event.criticality >= 8).map((event) => words.millis(event.time)) };
    lanes.show({ axis, health, metrics: Object.keys(row?.metrics ?? {}), history, events, silentSince }, signal);
  };

  return {
    element,
    move: () => void load(),
    update: () => { if (loaded !== app.place.subject && loading !== app.place.subject) void load(); },
    tick: () => { head.tick(); if (loading === null && !app.isPaused && "minutes" in app.place.range && Date.now() - reloaded > RELOAD_MS && !document.hidden) void load(true); },
    key: (event) => {
      if (event.key === "a") { element.querySelector<HTMLButtonElement>("[data-key=acknowledge]")?.click(); return true; }
      if (event.key === "c") { element.querySelector<HTMLButtonElement>("[data-key=copy]")?.click(); return true; }
      return false;
    },
    close: () => { abort.abort(); lanes.close(); },
  };
}

/** Replaces the content of a part; what has the focus there keeps it. */
function replace(part: HTMLElement, ...content: Child[]): void {
  const active = document.activeElement;
  const key = active instanceof HTMLElement && part.contains(active) ? active.dataset.key : undefined;
  fill(part, ...content);
  if (key) part.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

async function ask(name: string, signal: AbortSignal): Promise<Answers> {
  const window = windowOf(app.place.range);
  const dayAgo = api.now() - DAY_MS;
  const none = () => ({ data: [] as Segment[] });
  const [health, rows, history, before, events] = await Promise.all([
    api.ask<HealthAnswer>("device_health", { source_device: name }, signal),
    api.ask<{ data: DeviceRow[] }>("devices", { source_device: name }, signal),
    api.ask<History>("health_history", { source_device: name, ...window }, signal).catch(none),
    api.ask<History>("health_history", { source_device: name, from: new Date(dayAgo).toISOString(), until: new Date(dayAgo + 1000).toISOString() }, signal).catch(none),
    api.ask<{ data: EventRow[] }>("events", { source_device: name, limit: 100, ...window }, signal),
  ]);
  return { health: health.data, row: rows.data[0] ?? null, history: history.data, events: events.data, scoreBefore: before.data[0]?.score ?? null };
}

function buttons(health: DeviceHealth, state: State, again: () => void): HTMLElement {
  const grafana = grafanaLink(health.device, app.place.range);
  const copy = h("button", { class: "control", "data-key": "copy" }, icon("copy", 14), "Copy JSON");
  copy.addEventListener("click", () => { void navigator.clipboard.writeText(JSON.stringify(health, null, 2)); copy.lastChild?.replaceWith("Copied"); });
  // Nobody has to be on a device that is well.
  if (["ok", "asleep"].includes(state) && !health.acknowledged) return h("div", { class: "buttons" }, grafana, copy);
  const decide = h("button", { class: "control primary", "data-key": "acknowledge" }, health.acknowledged ? "Acknowledged" : "Acknowledge");
  decide.addEventListener("click", () => acknowledge(health.device, again));
  return h("div", { class: "buttons" }, grafana, copy, decide);
}

/** Start of the finding that decides, where the detector states no start of the verdict. */
function startOf(health: DeviceHealth): string | undefined {
  return health.health === "ok" ? undefined : health.reasons.find((reason) => reason.health === health.health)?.since;
}

function stateOfDevice(health: DeviceHealth, row: DeviceRow | null): State {
  const index = app.fleet?.find(health.device);
  if (health.health !== "unknown") return health.health;
  const known = index === undefined ? undefined : app.fleet?.state(index);
  if (known === "silent" || known === "asleep") return known;
  const reason = health.reasons[0]?.metric;
  return reason === "smart_standby" ? "asleep" : row === null || reason === "silence" || reason === "data" ? "silent" : "unknown";
}

function sentence(health: DeviceHealth, state: State): { title: string; advice: string | null; word?: string } {
  const first = health.reasons.find((reason) => reason.health !== "ok");
  const noun = app.fleet && app.fleet.find(health.device) !== undefined ? app.fleet.noun(app.fleet.find(health.device) ?? 0) : "device";
  const ago = words.millis(health.last_received ?? health.last_seen);
  switch (state) {
    case "critical": return { title: first?.advice ? `Failing: ${lower(first.advice)}` : `This ${noun} is failing`, advice: null, word: "Critical" };
    case "warning": return { title: first?.advice ? `Worth a look: ${lower(first.advice)}` : `This ${noun} needs a look`, advice: null, word: "Warning" };
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

function facts(health: DeviceHealth, state: State, labels: Record<string, string>, before: number | null): Child[] {
  const last = words.millis(health.last_received ?? health.last_seen);
  const strong = (text: string) => h("b", null, text);
  const score = health.score === null ? null : ["Score ", strong(String(health.score)), ` of 100${before === null ? "" : before === health.score ? ", as a day ago" : `, ${before} a day ago`}. `];
  const silent = state === "silent" && !Number.isNaN(last) ? ["Last value ", strong(words.clock(last, api.now(), true)), ". Its health before says nothing about now. "] : null;
  const [place, serial] = [words.place(labels), labels.serial];
  const named = (text: string, element: (text: string) => HTMLElement) => { const found = element(words.short(text, MAX_NAME)); found.title = words.name(text); found.dir = "auto"; return found; };
  const where = place || serial ? [place ? named(place, (text) => h("bdi", { class: "name" }, text)) : null, place && serial ? ", " : "", serial ? ["serial ", named(serial, (text) => h("b", { class: "name" }, text))] : null, "."] : null;
  return [score, silent, where];
}

function crumbs(device: string, labels: Record<string, string>): HTMLElement {
  const needy = app.fleet?.needy().map((index) => app.fleet?.device(index) ?? "") ?? [];
  const at = needy.indexOf(device);
  const group = labels.enclosure;
  const step = (by: number, key: string, mark: "left" | "right") => {
    const element = h("button", { class: "control", "data-key": key, "aria-label": by > 0 ? "next that needs attention" : "previous that needs attention" }, ...(by < 0 ? [icon(mark, 14), h("kbd", null, key)] : [h("kbd", null, key), icon(mark, 14)]));
    element.addEventListener("click", () => stepNeedy(by));
    return element;
  };
  return h("nav", { class: "crumbs", "aria-label": "place" },
    link("/", "Fleet"), h("span", { "aria-hidden": "true" }, "/"), group ? [link(`/?q=${encodeURIComponent(group)}`, words.short(group, 30)), h("span", { "aria-hidden": "true" }, "/")] : null, h("bdi", { class: "here", title: words.name(device) }, words.short(device, 60)),
    h("span", { class: "grow" }), needy.length > 0 ? h("span", null, at >= 0 ? `${at + 1} of ${needy.length} that need attention` : `${words.capital(words.counted(needy.length, "device"))} ${needy.length === 1 ? "needs" : "need"} attention`) : null,
    needy.length > 0 ? [step(-1, "k", "left"), step(1, "j", "right")] : null);
}

function link(href: string, text: string): HTMLElement { return h("a", { href, "data-link": true, "data-key": href }, h("bdi", null, text)); }

/** Goes to the next or previous device that needs attention. */
export function stepNeedy(by: number): void {
  const fleet = app.fleet;
  const needy = fleet?.needy().map((index) => fleet.device(index)) ?? [];
  if (needy.length === 0) return;
  const at = app.place.view === "device" ? needy.indexOf(app.place.subject) : by > 0 ? -1 : 0;
  const next = needy[(at + by + needy.length) % needy.length];
  if (next) app.go({ view: "device", subject: next, options: {} });
}
