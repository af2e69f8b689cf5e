/** The frame: bar, live state, keys, and the view that the address names. */

import "./style/tokens.css";
import "./style/base.css";
import "./style/views.css";
import "uplot/dist/uPlot.min.css";
import interUrl from "../build/inter.woff2?cut";
import * as api from "./api";
import { app } from "./app";
import type { View } from "./app";
import { parse, RANGES, rangeWord } from "./address";
import type { View as ViewName } from "./address";
import { fill, h } from "./dom";
import { follow } from "./live";
import * as overlays from "./overlays";
import { ofFleet } from "./sentence";
import { icon, mark, shape } from "./shapes";
import type { EventRow, State } from "./types";
import { empty, loading, statePage } from "./states";
import * as words from "./words";
import { askView } from "./views/ask";
import { deviceView, stepNeedy } from "./views/device";
import { eventsView } from "./views/events";
import { fleetView } from "./views/fleet";
import { pipelineView } from "./views/pipeline";

const VIEWS: Record<ViewName, () => View> = { fleet: fleetView, device: deviceView, events: eventsView, pipeline: pipelineView, ask: askView };
const TABS: [ViewName, string, string][] = [["fleet", "/", "Fleet"], ["events", "/events", "Events"], ["pipeline", "/pipeline", "Pipeline"], ["ask", "/ask", "Ask"]];
/** Views that can be drawn without a fleet. */
const NEEDS_NO_FLEET: ViewName[] = ["events", "pipeline", "ask", "device"];
const [OLD_MS, LOADING_MS, REFRESH_MS] = [10_000, 300, 5000];

const content = h("main", { id: "content", tabindex: "-1" });
const banner = h("div", { class: "banner", role: "status", hidden: true });
const live = h("span", { class: "live quiet" }, h("span", { class: "disc" }), h("span"));
const rangeButton = h("button", { class: "control range" }, icon("clock", 15), h("span"), icon("down", 12));
const announcer = h("div", { class: "hidden", "aria-live": "polite" });
let view: View | null = null;
let viewName = "";
let retryAt = 0;
let refreshed = 0;
let announced = 0;
let states = new Map<string, State>();

function frame(): void {
  const font = new FontFace("Inter Cut", `url(${interUrl})`, { weight: "400 600", display: "swap" });
  document.fonts.add(font);
  void font.load().then(() => view?.update?.()).catch(() => undefined);
  const find = h("button", { class: "control find", "aria-label": "Find a device" }, icon("find", 15), h("span", { class: "grow" }, "Find a device"), h("kbd", null, "/"));
  find.addEventListener("click", overlays.find);
  rangeButton.addEventListener("click", overlays.chooseTime);
  const theme = h("button", { class: "quiet theme", "aria-label": "dark or light" }, icon("theme", 16));
  theme.addEventListener("click", turnTheme);
  const help = h("button", { class: "quiet help", "aria-label": "keys and shapes" }, h("kbd", null, "?"));
  help.addEventListener("click", overlays.help);
  const tabs = h("nav", { class: "tabs", "aria-label": "views" }, ...TABS.map(([name, href, word]) => h("a", { href, "data-link": true, "data-view": name }, icon(name as "fleet", 18), word)));
  fill(document.getElementById("app") ?? document.body, h("header", { class: "bar" }, h("a", { class: "brand", href: "/", "data-link": true, "aria-label": "Spindle: fleet" }, mark(), h("span", null, "Spindle")), tabs, h("span", { class: "grow" }), find, rangeButton, live, theme, help), banner, content, announcer);
  document.addEventListener("click", followLink);
}

/** Links within the page change the address without loading it again. */
function followLink(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a[href^='/']") : null;
  if (!link || link.target !== "" || link.getAttribute("href")?.startsWith("/api/") || link.getAttribute("href") === "/metrics") return;
  event.preventDefault();
  const url = new URL(link.href);
  const place = parse(url.pathname, url.search);
  // A link without a range keeps that of the page.
  app.go(url.searchParams.has("t") || url.searchParams.has("from") ? place : { ...place, range: app.place.range });
}

function render(): void {
  const { place } = app;
  for (const tab of document.querySelectorAll<HTMLElement>(".tabs a")) {
    const isOn = tab.dataset.view === place.view;
    if (isOn) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
  }
  rangeButton.hidden = place.view === "ask";
  const word = rangeButton.querySelector("span");
  if (word) word.textContent = rangeWord(place.range, (at) => words.clock(at, api.now()));
  const wanted = place.view === "device" ? `device ${place.subject}` : place.view;
  const needsFleet = !NEEDS_NO_FLEET.includes(place.view);
  if (needsFleet && !app.fleet) { close(); if (app.failure) fill(content, statePage(app.failure, () => void app.load())); return; }
  if (needsFleet && app.fleet?.size === 0) { close(); fill(content, empty(Date.now() - performance.timeOrigin < 15_000)); return; }
  if (viewName !== wanted) {
    close();
    view = VIEWS[place.view]();
    viewName = wanted;
    fill(content, view.element);
    view.update?.();
    if (place.view === "device") view.move?.(place);
    scrollTo(0, 0);
  }
  title();
}

function close(): void {
  view?.close?.();
  view = null;
  viewName = "";
}

let lastAddress = "";
function changed(): void {
  showAge();
  const before = viewName;
  render();
  const address = location.pathname + location.search;
  if (view && before === viewName) { if (address === lastAddress) view.update?.(); else view.move?.(app.place); }
  lastAddress = address;
  announce();
}

/** Says once in ten seconds at most which device became worse. */
function announce(): void {
  const fleet = app.fleet;
  if (!fleet) return;
  const now = new Map<string, State>();
  const worse: string[] = [];
  for (const index of fleet.needy()) {
    const [device, state] = [fleet.device(index), fleet.state(index)];
    now.set(device, state);
    if (states.size > 0 && state === "critical" && states.get(device) !== "critical") worse.push(device);
  }
  states = now;
  if (worse.length > 0 && Date.now() - announced > 10_000) {
    announced = Date.now();
    announcer.textContent = worse.length === 1 ? `${words.name(worse[0] ?? "")} became critical` : `${worse.length} devices became critical`;
  }
}

function title(): void {
  const fleet = app.fleet;
  const said = fleet ? ofFleet(fleet, app.incidents) : null;
  const n = fleet && said ? fleet.count(said.state) : 0;
  const short = said?.state === "critical" ? `${n} failing – ` : said?.state === "warning" ? `${n} to look at – ` : said?.state === "silent" ? `${n} silent – ` : "";
  document.title = `${short}${app.place.view === "device" ? `${words.short(app.place.subject, 30)} – ` : ""}Spindle`;
  const figure = shape(said?.state ?? "ok", 32);
  figure.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const colour = { critical: "#d0203f", warning: "#c67c00", silent: "#6d7178", unknown: "#6d7178", ok: "#4f8596", asleep: "#4f8596" }[said?.state ?? "ok"];
  const text = figure.outerHTML.replaceAll("currentColor", colour).replaceAll("var(--bg)", "#fff");
  const link = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  const href = `data:image/svg+xml,${encodeURIComponent(text)}`;
  if (link && link.getAttribute("href") !== href) link.href = href;
}

/** Live, or how old what is seen is. */
function showAge(): void {
  const age = Date.now() - app.heard;
  const isLost = retryAt > 0;
  const [kind, word] = app.isPaused ? ["waiting", "Paused"] : !app.fleet ? ["waiting", app.failure ? "Away" : "Loading"] : age > OLD_MS ? ["old", `${words.duration(age / 1000)} old`] : ["", "Live"];
  live.className = `live quiet ${kind}`;
  const text = live.lastElementChild;
  if (text && text.textContent !== word) text.textContent = word;
  const isOld = app.fleet !== null && (isLost || app.failure !== null) && age > OLD_MS;
  document.body.classList.toggle("lost", isOld);
  banner.hidden = !isOld;
  if (isOld) {
    const wait = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const retry = h("button", { class: "control" }, "Try now");
    retry.addEventListener("click", () => { stream.retry(); void app.load(); });
    const said = `${isLost ? "Connection lost" : "The store does not answer"}. You see ${words.clock(app.heard, Date.now(), true)}, ${words.duration(age / 1000)} ago.`;
    if (banner.querySelector("b")?.textContent !== said) fill(banner, shape("silent", 14), h("b", null, said), h("span", null, isLost ? `Trying again in ${wait} s.` : app.failure?.message ?? ""), h("span", { class: "grow" }), retry);
  }
}

function tick(): void {
  showAge();
  view?.tick?.();
  if (isBehind && !app.isPaused && !document.hidden) { isBehind = false; view?.missed?.(); }
  if (!app.isPaused && !document.hidden && Date.now() - refreshed > REFRESH_MS) { refreshed = Date.now(); void app.load(); }
}

function turnTheme(): void {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("spindle.theme", root.dataset.theme); } catch { /* Then the choice lasts until the page is left. */ }
  redraw();
}

function redraw(): void {
  close();
  render();
}

/** Events came while nobody looked: the view asks for them once somebody does. */
let isBehind = false;
let isGoing = 0;
function key(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); overlays.find(); return; }
  const target = event.target;
  const isField = target instanceof HTMLElement && (target.matches("input, select, textarea") || target.isContentEditable || target.closest("dialog") !== null);
  if (isField || event.ctrlKey || event.altKey || event.metaKey || localStorage.getItem("spindle.keys") === "off") return;
  if (target instanceof HTMLElement && target.matches("button, a") && (event.key === " " || event.key === "Enter")) return;
  if (Date.now() - isGoing < 1500) {
    isGoing = 0;
    const to = { f: "/", e: "/events", p: "/pipeline", a: "/ask" }[event.key];
    if (to) { app.go({ ...parse(to, ""), range: app.place.range }); event.preventDefault(); }
    return;
  }
  if (view?.key?.(event)) { event.preventDefault(); return; }
  const act: Record<string, () => void> = {
    g: () => { isGoing = Date.now(); }, "/": overlays.find, "?": overlays.help, d: turnTheme, j: () => stepNeedy(1), k: () => stepNeedy(-1),
    "[": () => overlays.shiftRange(-0.5), "]": () => overlays.shiftRange(0.5), "-": () => overlays.zoom(2), "+": () => overlays.zoom(0.5), "=": () => overlays.zoom(0.5),
    "0": () => app.go({ range: app.home }), " ": () => { app.isPaused = !app.isPaused; app.notify(); },
    c: () => void navigator.clipboard.writeText(JSON.stringify(app.incidents, null, 2)), Escape: () => { if (app.place.view === "device") history.back(); },
  };
  const range = RANGES[Number(event.key) - 1];
  const chosen = /^[1-7]$/.test(event.key) && range ? () => app.go({ range: { minutes: range.minutes } }) : act[event.key];
  if (!chosen) return;
  event.preventDefault();
  chosen();
}

frame();
setTimeout(() => { if (!app.fleet && !view) fill(content, loading()); }, LOADING_MS);
app.subscribe(changed);
addEventListener("popstate", () => { app.place = parse(location.pathname, location.search); app.notify(); });
addEventListener("keydown", key);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
const stream = follow({
  heard: () => { retryAt = 0; },
  changed: () => { if (!app.isPaused && !document.hidden) { refreshed = Date.now(); void app.load(); } },
  events: (rows, hasMore) => {
    if (app.isPaused || document.hidden) isBehind = true;
    else if (hasMore) view?.missed?.();
    else view?.events?.(rows as EventRow[]);
  },
  lost: (at) => { retryAt = at; },
});
refreshed = Date.now();
render();
tick();
setInterval(tick, 1000);
void app.load();
