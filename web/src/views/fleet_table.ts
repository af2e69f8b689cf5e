/** The table: the same devices as the map, as markup; only the rows on the screen exist. */

import { app, SHOWN_METRICS } from "../app";
import { now } from "../api";
import { h } from "../dom";
import type { Fleet } from "../fleet_model";
import { ribbon } from "../spark";
import { shape } from "../shapes";
import * as words from "../words";

const ROW = 34;
const MARGIN_ROWS = 12;

type Column = { key: string; head: string; isNumber: boolean; draw?: (fleet: Fleet, index: number) => Element; text: (fleet: Fleet, index: number) => string; order: (fleet: Fleet, index: number) => number | string };

/** Most devices of whose verdicts the table shows a ribbon unasked: each costs a question once it is on the screen. */
const MAX_RIBBONS = 240;
const NONE = Number.POSITIVE_INFINITY;

/** Columns of one's choice, which the address names; without a choice all, and the ribbon in a small fleet. */
function columns(fleet: Fleet): Column[] {
  const chosen = app.place.options.columns?.split(",");
  return allColumns(fleet).filter(({ key }) => key === "device" || (chosen ? chosen.includes(key) : key !== "ribbon" || fleet.size <= MAX_RIBBONS));
}

function allColumns(fleet: Fleet): Column[] {
  const metrics = [...new Set([...SHOWN_METRICS, ...(app.place.options.colour ? [app.place.options.colour] : [])])].filter((metric) => fleet.metricTypes().includes(metric));
  return [
    { key: "device", head: "Device", isNumber: false, text: (f, i) => words.short(f.device(i), 44), order: (f, i) => f.device(i) },
    { key: "place", head: "Place", isNumber: false, text: (f, i) => f.place(i), order: (f, i) => f.place(i) },
    { key: "reason", head: "First reason", isNumber: false, text: (f, i) => f.trouble(i)?.reason ?? "", order: (f, i) => f.trouble(i)?.reason ?? "\uffff" },
    { key: "since", head: "Since", isNumber: true, text: (f, i) => since(f, i), order: (f, i) => f.trouble(i)?.since || NONE },
    { key: "score", head: "Score", isNumber: true, text: (f, i) => (f.state(i) === "ok" ? "100" : String(f.trouble(i)?.score ?? "–")), order: (f, i) => (f.state(i) === "ok" ? 100 : f.trouble(i)?.score ?? NONE) },
    ...metrics.map((metric): Column => ({
      key: metric, head: `${words.metric(metric)}${fleet.unit(metric) ? ` ${fleet.unit(metric)}` : ""}`, isNumber: true,
      text: (f, i) => (f.isSilent(i) ? "–" : words.value(f.value(i, metric), f.unit(metric), "lane")), order: (f, i) => -(f.value(i, metric) ?? -NONE),
    })),
    { key: "heard", head: "Heard", isNumber: true, text: (f, i) => heard(f, i), order: (f, i) => -(f.heard(i) ?? NONE) },
    { key: "ribbon", head: "Verdicts", isNumber: false, text: () => "", order: (f, i) => -(f.trouble(i)?.since || NONE), draw: (f, i) => ribbon(f.device(i)) },
  ];
}

function since(fleet: Fleet, index: number): string {
  const at = fleet.trouble(index)?.since ?? NaN;
  return Number.isNaN(at) ? "" : words.duration((now() - at) / 1000);
}

function heard(fleet: Fleet, index: number): string {
  const seconds = fleet.heard(index);
  return seconds === null ? "never" : `${words.duration(seconds)} ago`;
}

/** Which columns the table shows. */
export function columnChoice(fleet: Fleet): HTMLElement {
  const shown = new Set(columns(fleet).map(({ key }) => key));
  const boxes = allColumns(fleet).filter(({ key }) => key !== "device").map(({ key, head }) => {
    const box = h("input", { type: "checkbox", checked: shown.has(key) });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(key); else shown.delete(key);
      app.option("columns", [...shown].join(","), "replace");
    });
    return h("label", null, box, ` ${head}`);
  });
  return h("details", { class: "column-choice" }, h("summary", { class: "select" }, "Columns"), h("div", { class: "menu" }, ...boxes));
}

export class FleetTable {
  readonly element = h("div", { class: "table-box" });
  private readonly body = h("tbody");
  private readonly head = h("thead");
  private sorted: number[] = [];
  private fleet: Fleet | null = null;
  private selected = 0;
  private readonly scrolled = () => this.draw();

  constructor() {
    const table = h("table", { class: "fleet-table", "aria-label": "devices" }, this.head, this.body);
    this.element.append(table);
    addEventListener("scroll", this.scrolled, { passive: true });
    addEventListener("resize", this.scrolled);
    this.body.addEventListener("keydown", (event) => this.key(event));
  }

  close(): void {
    removeEventListener("scroll", this.scrolled);
    removeEventListener("resize", this.scrolled);
  }

  show(fleet: Fleet, shown: number[]): void {
    this.fleet = fleet;
    const wanted = app.place.options.order ?? "worst";
    const isBack = wanted.startsWith("-");
    const all = columns(fleet);
    const column = all.find((each) => each.key === wanted.replace(/^-/, ""));
    this.sorted = [...shown].sort((a, b) => {
      if (!column) return fleet.compareByState(a, b);
      const [x, y] = [column.order(fleet, a), column.order(fleet, b)];
      const ordered = typeof x === "number" && typeof y === "number" ? (x === y ? 0 : x < y ? -1 : 1) : String(x).localeCompare(String(y), "en", { numeric: true });
      return (isBack ? -ordered : ordered) || fleet.compareByState(a, b);
    });
    this.head.replaceChildren(h("tr", null, h("th", { class: "shape-cell" }, h("span", { class: "hidden" }, "state")), ...all.map((each) => {
      const isOn = wanted.replace(/^-/, "") === each.key;
      const button = h("button", null, each.head, isOn ? (isBack ? " ↑" : " ↓") : "");
      button.addEventListener("click", () => app.option("order", isOn && !isBack ? `-${each.key}` : each.key));
      return h("th", { class: each.isNumber ? "right" : "", "aria-sort": isOn ? (isBack ? "descending" : "ascending") : "none" }, button);
    })));
    this.draw();
  }

  private draw(): void {
    const fleet = this.fleet;
    if (!fleet) return;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.min(this.sorted.length - 1, Math.floor(-top / ROW) - MARGIN_ROWS));
    const last = Math.min(this.sorted.length, Math.ceil((innerHeight - top) / ROW) + MARGIN_ROWS);
    const all = columns(fleet);
    const space = (rows: number) => { const cell = h("td", { colspan: all.length + 1 }); cell.style.height = `${rows * ROW}px`; return h("tr", { "aria-hidden": "true", class: "space" }, cell); };
    const hadFocus = this.body.contains(document.activeElement);
    const rows = this.sorted.slice(first, Math.max(first, last)).map((index, at) => this.row(fleet, all, index, first + at));
    this.body.replaceChildren(...(first > 0 ? [space(first)] : []), ...rows, ...(last < this.sorted.length ? [space(this.sorted.length - last)] : []));
    if (hadFocus) this.body.querySelector<HTMLElement>(`[data-at="${this.selected}"]`)?.focus({ preventScroll: true });
  }

  private row(fleet: Fleet, all: Column[], index: number, at: number): HTMLElement {
    const state = fleet.state(index);
    const open = () => app.go({ view: "device", subject: fleet.device(index), options: {} });
    const row = h("tr", { class: state, tabindex: at === this.selected ? "0" : "-1", "data-at": at, "aria-rowindex": at + 2 },
      h("td", { class: "shape-cell" }, shape(state, 12, fleet.trouble(index)?.acknowledged), h("span", { class: "hidden" }, state)),
      ...all.map((column) => h("td", { class: `${column.isNumber ? "right num" : ""} ${column.key}`, dir: column.key === "device" ? "auto" : null, title: column.key === "reason" ? column.text(fleet, index) : null }, column.draw?.(fleet, index) ?? column.text(fleet, index))));
    row.addEventListener("click", open);
    row.addEventListener("focus", () => { this.selected = at; });
    return row;
  }

  private key(event: KeyboardEvent): void {
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, Home: -this.sorted.length, End: this.sorted.length, PageDown: 15, PageUp: -15 };
    const step = moves[event.key];
    const index = this.sorted[this.selected];
    if (event.key === "Enter" && this.fleet && index !== undefined) app.go({ view: "device", subject: this.fleet.device(index), options: {} });
    if (step === undefined) return;
    event.preventDefault();
    this.selected = Math.max(0, Math.min(this.sorted.length - 1, this.selected + step));
    const top = this.body.getBoundingClientRect().top + this.selected * ROW;
    if (top < 100 || top > innerHeight - 60) scrollBy(0, top - innerHeight / 2);
    this.draw();
    this.body.querySelector<HTMLElement>(`[data-at="${this.selected}"]`)?.focus({ preventScroll: true });
  }
}
