/** Overlays: find a device, choose a range, keys and shapes. Each is a dialog, so Escape closes it and the focus returns. */

import * as api from "./api";
import { app } from "./app";
import { RANGES, span } from "./address";
import { h, fill } from "./dom";
import { icon, MEANINGS, shape, STATES } from "./shapes";
import * as words from "./words";

const MAX_FOUND = 8;

function open(kind: string, name: string, ...content: (Node | string)[]): HTMLDialogElement {
  document.querySelector<HTMLDialogElement>("dialog.overlay")?.close();
  const box = h("dialog", { class: `overlay ${kind}`, "aria-label": name }, ...content);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}

/** Finds devices by name, serial, model and place: worst first among equals. */
export function find(): void {
  const field = h("input", { class: "find-field", placeholder: "Find a device", "aria-label": "find a device", role: "combobox", "aria-expanded": "true", "aria-controls": "found", autocomplete: "off", spellcheck: "false" });
  const list = h("ul", { id: "found", role: "listbox" });
  const box = open("find-box", "Find a device", h("div", { class: "find-head" }, icon("find", 18), field), list);
  let found: { text: string; go: () => void }[] = [];
  let at = 0;
  const draw = () => {
    const text = field.value.trim().toLowerCase();
    const fleet = app.fleet;
    const matches = fleet && text ? fleet.all().filter((index) => haystack(index).includes(text)) : fleet?.needy() ?? [];
    const sorted = fleet ? matches.sort((a, b) => rank(a, text) - rank(b, text) || fleet.compareByState(a, b)).slice(0, MAX_FOUND) : [];
    found = [];
    const items = sorted.map((index) => {
      const device = fleet?.device(index) ?? "";
      return item(found.length, () => app.go({ view: "device", subject: device, options: {} }), shape(fleet?.state(index) ?? "unknown", 13), h("b", { dir: "auto" }, words.short(device, 44)), h("span", { class: "muted" }, [fleet?.place(index), fleet?.label(index, "model")].filter(Boolean).join(", ")));
    });
    const first = sorted[0];
    const more = [
      ...(first !== undefined && text ? [item(items.length, () => app.go({ view: "events", subject: "", options: { device: fleet?.device(first) ?? "" } }), icon("arrow", 13), `Events of ${words.short(fleet?.device(first) ?? "", 30)}`)] : []),
      ...(text ? [item(items.length + 1, () => app.go({ view: "fleet", subject: "", options: { q: field.value.trim() } }), icon("arrow", 13), `Only devices with “${words.short(field.value.trim(), 24)}”`)] : []),
      item(items.length + 2, () => app.go({ view: "fleet", subject: "", options: { state: "critical" } }), icon("arrow", 13), "Only critical devices"),
    ];
    fill(list, ...items, items.length === 0 && text ? h("li", { class: "muted pad" }, "No device has that name.") : null, h("li", { class: "muted go-to", role: "presentation" }, "Go to"), ...more);
    at = Math.min(at, found.length - 1);
    mark();
  };
  const item = (_: number, go: () => void, ...content: (Node | string)[]): HTMLElement => {
    const index = found.length;
    found.push({ text: "", go });
    const element = h("li", { role: "option", id: `found-${index}`, "data-at": index }, ...content);
    element.addEventListener("click", () => { box.close(); go(); });
    return element;
  };
  const mark = () => { for (const element of list.querySelectorAll<HTMLElement>("[data-at]")) element.setAttribute("aria-selected", String(Number(element.dataset.at) === at)); field.setAttribute("aria-activedescendant", `found-${at}`); };
  const haystack = (index: number) => [app.fleet?.device(index), app.fleet?.place(index), app.fleet?.label(index, "model"), app.fleet?.label(index, "host")].join(" ").toLowerCase();
  const rank = (index: number, text: string) => { const name = app.fleet?.device(index).toLowerCase() ?? ""; return name === text ? 0 : name.startsWith(text) ? 1 : name.includes(text) ? 2 : 3; };
  field.addEventListener("input", () => { at = 0; draw(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { at = (at + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length; mark(); event.preventDefault(); }
    if (event.key === "Enter") { box.close(); found[at]?.go(); }
  });
  draw();
  field.focus();
}

/** Chooses a range, by name or by two times. */
export function chooseTime(): void {
  const now = api.now();
  const { from, until } = span(app.place.range, now);
  const local = (at: number) => { const d = new Date(at - new Date(at).getTimezoneOffset() * 60_000); return d.toISOString().slice(0, 19); };
  const [first, last] = [h("input", { class: "field", type: "datetime-local", step: 1, value: local(from) }), h("input", { class: "field", type: "datetime-local", step: 1, value: local(until) })];
  const note = h("p", { class: "faint" }, `${words.zone(now)}; in UTC ${new Date(from).toISOString().slice(0, 16).replace("T", " ")} to ${new Date(until).toISOString().slice(0, 16).replace("T", " ")}`);
  const show = h("button", { class: "control primary" }, "Show");
  const form = h("form", null, h("label", null, "From", first), h("label", null, "Until", last), note, h("div", { class: "row" }, show, step("left", "earlier", () => shiftRange(-0.5)), step("right", "later", () => shiftRange(0.5))));
  const minutes = "minutes" in app.place.range ? app.place.range.minutes : 0;
  const box = open("time-box", "Time range", h("ul", null, ...RANGES.map((range, index) => { const button = h("button", { "aria-pressed": String(range.minutes === minutes) }, range.word, h("span", { class: "faint" }, String(index + 1))); button.addEventListener("click", () => { box.close(); app.go({ range: { minutes: range.minutes } }); }); return h("li", null, button); })), form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [a, b] = [new Date(first.value).getTime(), new Date(last.value).getTime()];
    if (!(a < b)) { note.textContent = "The range must end after it begins."; note.className = "problem"; return; }
    box.close();
    app.go({ range: { from: a, until: b } });
  });
  function step(mark: "left" | "right", word: string, act: () => void): HTMLElement {
    const button = h("button", { class: "control", type: "button", "aria-label": word }, icon(mark, 14));
    button.addEventListener("click", () => { act(); box.close(); });
    return button;
  }
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

const KEYS: [string, string[]][] = [
  ["the four views", ["g", "then", "f e p a"]], ["find a device", ["/"]], ["next, previous that needs attention", ["j", "k"]], ["open, back", ["Enter", "Esc"]],
  ["move in the map or the table", ["arrows"]], ["map or table", ["m"]], ["time range", ["1", "…", "7"]], ["earlier, later", ["[", "]"]], ["zoom out, in", ["−", "+"]], ["back to now", ["0"]],
  ["pause, go on", ["space"]], ["copy as JSON", ["c"]], ["acknowledge", ["a"]], ["dark or light", ["d"]],
];

export function help(): void {
  const off = h("input", { type: "checkbox", checked: localStorage.getItem("spindle.keys") !== "off" });
  off.addEventListener("change", () => localStorage.setItem("spindle.keys", off.checked ? "on" : "off"));
  open("help-box", "Keys and shapes",
    h("section", null, h("h2", null, "Keys"), h("dl", { class: "keys" }, ...KEYS.map(([what, keys]) => h("div", null, h("dt", { class: "muted" }, what), h("dd", null, ...keys.map((key) => (key.length > 3 && key !== "Enter" && key !== "space" && key !== "arrows" && key !== "f e p a") || key === "then" || key === "…" ? h("span", { class: "muted" }, key) : h("kbd", null, key)))))), h("label", { class: "switch-keys" }, off, " single keys act")),
    h("section", null, h("h2", null, "States"), h("dl", { class: "legend" }, ...STATES.map((state) => h("div", null, h("dt", { class: `word ${state}` }, state), h("dd", { class: "muted" }, MEANINGS[state]), h("dd", null, shape(state, 24), shape(state, 18), shape(state, 14), shape(state, 10)))), h("div", null, h("dt", null, "acknowledged"), h("dd", { class: "muted" }, "someone is on it"), h("dd", null, shape("critical", 20, true), shape("warning", 20, true))))));
}
