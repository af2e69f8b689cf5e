/** Overlays: find a device, choose a range, keys and shapes. */

import * as api from "./api";
import { app } from "./app";
import { format, RANGES, span } from "./address";
import { h, fill, svg } from "./dom";
import { namesOf } from "./fleet_model";
import { modal } from "./modal";
import { search } from "./search";
import { icon, MEANINGS, shape, STATES } from "./shapes";
import { parseTime, timeText } from "./time_text";
import type { FleetAnswer, State } from "./types";
import * as words from "./words";

const MAX_FOUND = 8;
/** Time for which serial numbers are kept, in ms. */
const KEPT_MS = 60_000;

function open(kind: string, name: string, ...content: (Node | string)[]): HTMLDialogElement {
  document.querySelector<HTMLDialogElement>("dialog.overlay")?.close();
  return modal(`overlay ${kind}`, name, ...content);
}

let serials: { at: number; of: Map<string, string> } = { at: 0, of: new Map() };

/** Serial numbers by device: only the search needs them, so they are asked for when it opens. */
async function loadSerials(): Promise<void> {
  if (Date.now() - serials.at < KEPT_MS) return;
  const { data } = await api.ask<FleetAnswer>("fleet", { serials: "yes", names: "front_coded" });
  const of = new Map<string, string>();
  namesOf(data).forEach((device, index) => { const serial = data.labels.serial?.names[data.labels.serial.index[index] ?? -1]; if (serial) of.set(device, serial); });
  serials = { at: Date.now(), of };
}

/** Finds devices by name, serial, model and place: worst first among equals. */
export function find(): void {
  const field = h("input", { class: "find-field", placeholder: "Find a device", "aria-label": "find a device", role: "combobox", "aria-expanded": "true", "aria-controls": "found", autocomplete: "off", spellcheck: "false" });
  const list = h("ul", { id: "found", role: "listbox", "aria-label": "found" });
  const box = open("find-box", "Find a device", h("div", { class: "find-head" }, icon("find", 18), field), list);
  let found: (() => void)[] = [];
  let at = 0;
  const draw = () => {
    const text = field.value.trim();
    const fleet = app.fleet;
    const sorted = fleet ? search(fleet, text, (index) => serials.of.get(fleet.device(index))).slice(0, MAX_FOUND) : [];
    found = [];
    const items = sorted.map((index) => {
      const device = fleet?.device(index) ?? "";
      const about = [fleet?.place(index), fleet?.label(index, "model"), text ? serials.of.get(device) : undefined].filter(Boolean).join(", ");
      return item(() => app.go({ view: "device", subject: device, options: {} }), shape(fleet?.state(index) ?? "unknown", 13, fleet?.trouble(index)?.acknowledged), h("b", { dir: "auto", title: words.name(device) }, ...marked(words.short(device, 44), text)), h("span", { class: "muted cut" }, ...marked(words.name(about), text)));
    });
    const first = sorted[0];
    const more = [
      ...(first !== undefined && text ? [item(() => app.go({ view: "events", subject: "", options: { device: fleet?.device(first) ?? "" } }), icon("arrow", 13), `Events of ${words.short(fleet?.device(first) ?? "", 30)}`)] : []),
      ...(text ? [item(() => app.go({ view: "fleet", subject: "", options: { q: text } }), icon("arrow", 13), `Only devices with “${words.short(text, 24)}”`)] : []),
      item(() => app.go({ view: "fleet", subject: "", options: { state: "critical" } }), icon("arrow", 13), "Only critical devices"),
    ];
    fill(list, ...items, items.length === 0 && text ? h("li", { class: "muted pad", role: "presentation" }, "No device has that name, serial number, model or place.") : null, h("li", { class: "muted go-to", role: "presentation" }, "Go to"), ...more);
    at = Math.min(at, found.length - 1);
    mark();
  };
  const item = (go: () => void, ...content: (Node | string)[]): HTMLElement => {
    const index = found.length;
    found.push(go);
    const element = h("li", { role: "option", id: `found-${index}`, "data-at": index }, ...content, h("kbd", { class: "enter", "aria-hidden": "true" }, "Enter"));
    element.addEventListener("click", () => { box.close(); go(); });
    return element;
  };
  const mark = () => { for (const element of list.querySelectorAll<HTMLElement>("[data-at]")) element.setAttribute("aria-selected", String(Number(element.dataset.at) === at)); field.setAttribute("aria-activedescendant", `found-${at}`); };
  field.addEventListener("input", () => { at = 0; draw(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { at = (at + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length; mark(); event.preventDefault(); }
    if (event.key === "Enter") { event.preventDefault(); box.close(); found[at]?.(); }
  });
  draw();
  field.focus();
  loadSerials().then(() => { if (box.open) draw(); }).catch(() => undefined);
}

/** The text with what was looked for underlined. */
function marked(text: string, wanted: string): (Node | string)[] {
  const at = wanted === "" ? -1 : text.toLowerCase().indexOf(wanted.toLowerCase());
  return at < 0 ? [text] : [text.slice(0, at), h("u", null, text.slice(at, at + wanted.length)), text.slice(at + wanted.length)];
}

/** Chooses a range, by name or by two times. */
export function chooseTime(): void {
  const now = api.now();
  const { from, until } = span(app.place.range, now);
  const field = (at: number, name: string) => h("input", { class: "field", value: timeText(at, now), "aria-label": name, autocomplete: "off", spellcheck: "false" });
  const [first, last] = [field(from, "from"), field(until, "until")];
  const note = h("p", { class: "faint", role: "status" });
  const read = (): [number, number] => [parseTime(first.value, now), parseTime(last.value, now)];
  const say = () => {
    const [a, b] = read();
    const utc = (at: number) => new Date(at).toISOString().slice(0, 16).replace("T", " ");
    note.className = "faint";
    fill(note, Number.isNaN(a) || Number.isNaN(b) ? "" : `${words.clock(a, now)} to ${words.clock(b, now)}, ${words.zone(now)}`, h("br"), Number.isNaN(a) || Number.isNaN(b) ? "" : `${utc(a)} to ${utc(b)} UTC`);
  };
  const form = h("form", null, h("label", null, "From", first), h("label", null, h("span", { class: "ask-label" }, "Until", h("span", { class: "faint" }, "or “now”")), last), note,
    h("div", { class: "row" }, h("button", { class: "control primary" }, "Show"), step("left", "earlier", () => shiftRange(-0.5)), step("right", "later", () => shiftRange(0.5)), step("minus", "zoom out", () => zoom(2))), copyLink(from, until));
  const minutes = "minutes" in app.place.range ? app.place.range.minutes : 0;
  const box = open("time-box", "Time range", h("ul", null, ...RANGES.map((range, index) => { const button = h("button", { "aria-pressed": String(range.minutes === minutes) }, range.word, h("span", { class: "faint" }, String(index + 1))); button.addEventListener("click", () => { box.close(); app.go({ range: { minutes: range.minutes } }); }); return h("li", null, button); })), form);
  form.addEventListener("input", say);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [a, b] = read();
    const wrong = Number.isNaN(a) ? first : Number.isNaN(b) ? last : null;
    if (wrong || !(a < b)) {
      note.textContent = wrong ? `“${words.short(wrong.value, 30)}” is no time such as 09:41, yesterday 09:41, 30 Nov 09:41 or 6 h ago.` : "The range must end after it begins.";
      note.className = "problem";
      (wrong ?? last).focus();
      return;
    }
    box.close();
    // What ends now stays relative.
    app.go({ range: b === now ? { minutes: Math.max(1, Math.round((b - a) / 60_000)) } : { from: a, until: b } });
  });
  say();
  box.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
  function step(mark: "left" | "right" | "minus", word: string, act: () => void): HTMLElement {
    const button = h("button", { class: "control", type: "button", "aria-label": word }, icon(mark, 14));
    button.addEventListener("click", () => { act(); box.close(); });
    return button;
  }
}

/** Copies an address whose range does not move on. */
function copyLink(from: number, until: number): HTMLElement {
  const button = h("button", { class: "link muted", type: "button" }, "Copy link to this time");
  button.addEventListener("click", () => {
    void navigator.clipboard.writeText(location.origin + format({ ...app.place, range: { from: Math.round(from), until: Math.round(until) } }));
    button.textContent = "Copied";
  });
  return button;
}

/** Moves the range by a share of its length. */
export function shiftRange(share: number): void {
  const now = api.now();
  const { from, until } = span(app.place.range, now);
  const by = Math.round((until - from) * share);
  const end = Math.min(now, until + by);
  app.go({ range: end >= now - 1000 ? { minutes: Math.max(1, Math.round((until - from) / 60_000)) } : { from: end - (until - from), until: end } }, "replace");
}

/** Makes the range longer (2) or shorter (0.5), around its middle or its end at the present. */
export function zoom(factor: number): void {
  const now = api.now();
  const { from, until } = span(app.place.range, now);
  const length = Math.max(60_000, (until - from) * factor);
  if ("minutes" in app.place.range) { app.go({ range: { minutes: Math.max(1, Math.round(length / 60_000)) } }, "replace"); return; }
  const middle = (from + until) / 2;
  app.go({ range: { from: Math.round(middle - length / 2), until: Math.round(Math.min(now, middle + length / 2)) } }, "replace");
}

/** Each key by itself; what is not in brackets is a word between keys. */
const KEYS: [string, string][] = [
  ["the four views", "[g] then [f] [e] [p] [a]"], ["find a device", "[/]"], ["next, previous that needs attention", "[j] [k]"], ["open, back", "[Enter] [Esc]"],
  ["move in the map or the table", "[arrows]"], ["map or table", "[m]"], ["time range", "[1] … [7]"], ["earlier, later", "[[] []]"], ["zoom out, in", "[−] [+]"], ["back to now", "[0]"],
  ["pause, go on", "[space]"], ["copy as JSON", "[c]"], ["acknowledge", "[a]"], ["dark or light", "[d]"],
];
const SIZES = [24, 18, 14, 11, 8];

export function help(): void {
  const on = h("input", { type: "checkbox", checked: localStorage.getItem("spindle.keys") !== "off" });
  on.addEventListener("change", () => localStorage.setItem("spindle.keys", on.checked ? "on" : "off"));
  const keys = (text: string) => text.split(" ").map((part) => (part.startsWith("[") ? h("kbd", null, part.slice(1, -1)) : h("span", { class: "muted" }, part)));
  const row = (name: string, meaning: string, kind: string, ...samples: (Node | string)[]) => h("div", null, h("dt", { class: `word ${kind}` }, name), h("dd", { class: "muted" }, meaning), h("dd", { class: "samples" }, ...samples));
  const box = open("help-box", "Keys and shapes",
    h("section", null, h("h2", { tabindex: "-1" }, "Keys"), h("dl", { class: "keys" }, ...KEYS.map(([what, text]) => h("div", null, h("dt", { class: "muted" }, what), h("dd", null, ...keys(text))))), h("label", { class: "switch-keys" }, on, " Single keys act")),
    h("section", null, h("h2", null, "States"), h("dl", { class: "legend" }, ...STATES.map((state) => row(state, MEANINGS[state], state, ...SIZES.map((size) => shape(state, size)), h("span", { class: `bay ${state}` }, shape(state, 10), "17"), sample(state))),
      row("acknowledged", "someone is on it", "", shape("critical", 18, true), shape("critical", 14, true), shape("warning", 18, true), shape("warning", 14, true), h("span", { class: "muted" }, "the same shape, hollow")))));
  box.querySelector<HTMLElement>("h2")?.focus();
}

/** A stretch of the state in a ribbon of verdicts. */
function sample(state: State): SVGElement {
  const root = svg("svg", { class: "ribbon", viewBox: "0 0 84 12", width: 84, height: 12, "aria-hidden": "true" }, svg("rect", { x: 0, y: 10, width: 84, height: 2, class: "seg ok" }));
  const health = state === "silent" ? "unknown" : state;
  const height = { critical: 11, warning: 6, unknown: 5 }[health as string];
  if (height) root.append(svg("rect", { x: 44, y: 12 - height, width: 25, height, class: `seg ${health}` }));
  return root;
}
