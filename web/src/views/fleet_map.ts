/** The map: a canvas in pieces, of which only those near the screen are drawn; scrolling draws nothing. */

import { app } from "../app";
import { h } from "../dom";
import type { Fleet } from "../fleet_model";
import { readColours } from "../colours";
import type { Colours } from "../colours";
import { shape } from "../shapes";
import type { State } from "../types";
import * as words from "../words";
import { secondsSince, now } from "../api";
import type { Cell, Layout } from "./map_layout";
import { commonPrefix, density, hit, layout, neighbour } from "./map_layout";
import { tile } from "./fleet_tile";
import { groupName, MapPainter } from "./map_painter";

/** Devices up to which groups stand in the order of their places, unless chosen otherwise. */
export const MAX_BY_PLACE = 1200;
/** Height of a piece in CSS pixels. */
const PIECE = 640;
const TIP_DELAY_MS = 120;
/** Time for which a cell that changed its state wears a ring. */
const RING_MS = 3000;

interface Piece { canvas: HTMLCanvasElement; top: number; isNear: boolean; isDirty: boolean }

export class FleetMap {
  readonly element = h("div", { class: "map" });
  private readonly surface = h("div", { class: "map-surface", tabindex: "0", role: "grid", "aria-label": "devices" });
  private readonly active = h("div", { id: "active-cell", class: "hidden", role: "gridcell" });
  private readonly tip = h("div", { class: "tip", hidden: true });
  private pieces: Piece[] = [];
  private layout: Layout = { density: "bay", groups: [], cells: [], height: 0 };
  private fleet: Fleet | null = null;
  private shown: number[] = [];
  private chosen: string | null = null;
  private ringed = new Set<string>();
  private changed = new Map<string, number>();
  private lastStates = new Map<string, State>();
  private range: [number, number] | null = null;
  private frame = 0;
  private tipTimer = 0;
  private readonly observer = new IntersectionObserver((entries) => this.see(entries), { rootMargin: "400px" });
  private readonly resize = new ResizeObserver(() => this.arrange());

  constructor(private readonly onHover: (device: string | null) => void) {
    this.surface.append(h("div", { role: "row" }, this.active));
    this.element.append(this.surface, this.tip);
    this.resize.observe(this.element);
    this.surface.addEventListener("mousemove", (event) => this.hover(event));
    this.surface.addEventListener("mouseleave", () => this.hideTip());
    this.surface.addEventListener("click", (event) => this.click(event));
    this.surface.addEventListener("keydown", (event) => this.key(event));
    this.surface.addEventListener("focus", () => this.choose(this.cellOf(this.chosen) ?? this.layout.cells[0], true));
    this.surface.addEventListener("blur", () => this.hideTip());
  }

  close(): void {
    this.observer.disconnect();
    this.resize.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.tipTimer);
  }

  show(fleet: Fleet, shown: number[]): void {
    for (const index of shown) {
      const [device, state] = [fleet.device(index), fleet.state(index)];
      const before = this.lastStates.get(device);
      if (before !== undefined && before !== state) this.changed.set(device, Date.now());
      this.lastStates.set(device, state);
    }
    if (this.changed.size > 0) {
      setTimeout(() => {
        for (const [device, at] of this.changed) if (Date.now() - at >= RING_MS) this.changed.delete(device);
        this.dirty();
      }, RING_MS + 50);
    }
    [this.fleet, this.shown] = [fleet, shown];
    this.arrange();
  }

  ring(devices: string[]): void {
    this.ringed = new Set(devices);
    this.dirty();
  }

  private arrange(): void {
    const fleet = this.fleet;
    const width = this.element.clientWidth;
    if (!fleet || width === 0) return;
    const { group = fleet.labelKeys().includes("enclosure") ? "enclosure" : "class", order } = app.place.options;
    const kind = density(this.shown.length);
    const byState = order === "worst" || (order === undefined && this.shown.length > MAX_BY_PLACE);
    const groups = fleet.groups(kind === "tile" && app.place.options.group === undefined ? "none" : group, this.shown);
    for (const each of groups) each.members.sort((a, b) => (order === "worst" ? fleet.compareByState(a, b) : fleet.compareByPlace(a, b)));
    if (byState) {
      const worst = new Map(groups.map((each) => [each.name, [...each.members].sort((a, b) => fleet.compareByState(a, b))[0] ?? 0]));
      const n = (members: number[], state: State) => members.filter((index) => fleet.state(index) === state).length;
      groups.sort((a, b) => n(b.members, "critical") - n(a.members, "critical") || n(b.members, "warning") - n(a.members, "warning") || fleet.compareByState(worst.get(a.name) ?? 0, worst.get(b.name) ?? 0));
    }
    this.layout = layout(groups, width, kind, innerWidth < 720);
    this.range = this.colourRange();
    this.surface.style.height = `${this.layout.height}px`;
    this.surface.setAttribute("aria-label", this.description());
    if (kind === "tile") this.tiles(); else this.divide(width);
  }

  /** Few devices: elements, with a curve each. */
  private tiles(): void {
    const fleet = this.fleet;
    if (!fleet) return;
    this.clearPieces();
    this.surface.querySelectorAll(".tile, .tile-group").forEach((element) => element.remove());
    for (const group of this.layout.groups) {
      if (group.headHeight > 0) {
        const head = h("div", { class: "tile-group", "aria-hidden": "true" }, groupName(group.name));
        head.style.top = `${group.y}px`;
        this.surface.append(head);
      }
    }
    for (const cell of this.layout.cells) {
      const element = tile(fleet, cell.device);
      Object.assign(element.style, { left: `${cell.x}px`, top: `${cell.y}px`, width: `${cell.width}px`, height: `${cell.height}px` });
      this.surface.append(element);
    }
  }

  private divide(width: number): void {
    this.surface.querySelectorAll(".tile, .tile-group").forEach((element) => element.remove());
    const n = Math.max(1, Math.ceil(this.layout.height / PIECE));
    while (this.pieces.length > n) this.drop(this.pieces.pop());
    while (this.pieces.length < n) {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const piece = { canvas, top: this.pieces.length * PIECE, isNear: this.pieces.length < 2, isDirty: true };
      canvas.style.top = `${piece.top}px`;
      this.pieces.push(piece);
      this.surface.append(canvas);
      this.observer.observe(canvas);
    }
    const ratio = devicePixelRatio;
    this.pieces.forEach((piece) => {
      const height = Math.min(PIECE, this.layout.height - piece.top) + 8;
      const [w, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (piece.canvas.width !== w || piece.canvas.height !== tall) {
        piece.canvas.width = w;
        piece.canvas.height = tall;
        piece.canvas.style.width = `${width}px`;
        piece.canvas.style.height = `${height}px`;
      }
      piece.isDirty = true;
    });
    this.dirty();
  }

  private clearPieces(): void { while (this.pieces.length > 0) this.drop(this.pieces.pop()); }

  private drop(piece: Piece | undefined): void {
    if (!piece) return;
    this.observer.unobserve(piece.canvas);
    piece.canvas.remove();
  }

  private see(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const piece = this.pieces.find((each) => each.canvas === entry.target);
      if (piece) piece.isNear = entry.isIntersecting;
    }
    if (this.pieces.some((piece) => piece.isNear && piece.isDirty)) this.schedule();
  }

  /** Draws everything once more, in the next frame. */
  dirty(): void {
    for (const piece of this.pieces) piece.isDirty = true;
    if (this.layout.density === "tile") {
      for (const element of this.surface.querySelectorAll<HTMLElement>(".tile")) element.classList.toggle("ringed", this.ringed.has(element.dataset.device ?? ""));
    }
    this.schedule();
  }

  private schedule(): void {
    if (this.frame !== 0 || document.hidden) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const began = performance.now();
      const colours = readColours();
      for (const piece of this.pieces) {
        if (piece.isNear && piece.isDirty) this.draw(piece, colours);
      }
      // For tests/measure.
      this.surface.dataset.drawn = (performance.now() - began).toFixed(1);
    });
  }

  private draw(piece: Piece, colours: Colours): void {
    const context = piece.canvas.getContext("2d");
    const fleet = this.fleet;
    if (!context || !fleet) return;
    piece.isDirty = false;
    const ratio = devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, -piece.top * ratio);
    context.clearRect(0, piece.top, piece.canvas.width, piece.canvas.height / ratio);
    const bottom = piece.top + piece.canvas.height / ratio;
    const isIn = (box: { y: number; height: number }) => box.y < bottom && box.y + box.height > piece.top;
    const prefix = this.layout.density === "bay" ? 0 : commonPrefix(this.layout.groups.map((group) => group.name));
    const painter = new MapPainter(context, colours, fleet, this.layout, this.range, { chosen: this.chosen, ringed: this.ringed, changed: this.changed });
    for (const group of this.layout.groups) if (isIn(group)) painter.drawGroup(group, prefix);
    const cells = this.layout.cells.filter(isIn);
    // The worst last, so that it lies on top.
    if (this.layout.density === "dot") cells.sort((a, b) => fleet.compareByState(b.device, a.device));
    for (const cell of cells) painter.drawCell(cell);
  }

  private colourRange(): [number, number] | null {
    const [fleet, metric] = [this.fleet, app.place.options.colour];
    if (!fleet || !metric) return null;
    const values = this.shown.map((index) => fleet.value(index, metric)).filter((value): value is number => value !== null).sort((a, b) => a - b);
    return values.length === 0 ? null : [values[0] ?? 0, values[values.length - 1] ?? 0];
  }

  scale(): [number, number] | null { return this.range; }

  private description(): string {
    const fleet = this.fleet;
    if (!fleet) return "devices";
    const parts = (["critical", "warning", "silent", "unknown", "asleep"] as const).map((state) => [this.shown.filter((index) => fleet.state(index) === state).length, state] as const).filter(([n]) => n > 0);
    return `${words.whole(this.shown.length)} devices by ${app.place.options.group ?? "enclosure"}: ${parts.map(([n, state]) => `${n} ${state}`).join(", ") || "all ok"}`;
  }

  private cellOf(device: string | null): Cell | undefined {
    return device === null ? undefined : this.layout.cells.find((cell) => this.fleet?.device(cell.device) === device);
  }

  private at(event: MouseEvent): Cell | undefined {
    const box = this.surface.getBoundingClientRect();
    return hit(this.layout, event.clientX - box.left, event.clientY - box.top);
  }

  private hover(event: MouseEvent): void {
    const cell = this.at(event);
    clearTimeout(this.tipTimer);
    if (!cell) { this.hideTip(); return; }
    this.surface.style.cursor = "pointer";
    this.onHover(this.fleet?.device(cell.device) ?? null);
    this.tipTimer = setTimeout(() => this.showTip(cell), this.tip.hidden ? TIP_DELAY_MS : 0);
  }

  private hideTip(): void {
    clearTimeout(this.tipTimer);
    this.tip.hidden = true;
    this.surface.style.cursor = "";
    this.onHover(null);
  }

  private showTip(cell: Cell): void {
    const fleet = this.fleet;
    if (!fleet) return;
    const [state, trouble] = [fleet.state(cell.device), fleet.trouble(cell.device)];
    const heard = fleet.heard(cell.device);
    const since = trouble && !Number.isNaN(trouble.since) ? `since ${words.clock(trouble.since, now())}, ${words.duration((now() - trouble.since) / 1000)}; ` : "";
    this.tip.replaceChildren(
      h("div", { class: "tip-head" }, shape(state, 14, trouble?.acknowledged), h("div", null, h("b", { dir: "auto" }, words.short(fleet.device(cell.device), 60)), h("div", { class: "muted" }, fleet.place(cell.device)))),
      h("p", null, trouble?.reason || (state === "ok" ? "As expected." : "")),
      h("p", { class: "faint" }, `${since}${heard === null ? "never heard" : `heard ${words.duration(heard + Math.max(0, secondsSince(new Date(fleet.until).toISOString())))} ago`}`),
    );
    this.tip.hidden = false;
    const box = this.element.clientWidth;
    const left = Math.max(0, Math.min(box - 270, cell.x + cell.width / 2 - 135));
    const isBelow = cell.y + cell.height + 12 + this.tip.offsetHeight < this.layout.height + 40 || cell.y < 120;
    Object.assign(this.tip.style, { left: `${left}px`, top: isBelow ? `${cell.y + cell.height + 10}px` : `${cell.y - this.tip.offsetHeight - 10}px` });
  }

  private click(event: MouseEvent): void {
    const cell = this.at(event);
    if (!cell || !this.fleet) return;
    if (this.layout.density === "dot" && matchMedia("(pointer: coarse)").matches && this.layout.groups.length > 1) {
      app.option("q", this.layout.groups[cell.group]?.name ?? "");
      return;
    }
    app.go({ view: "device", subject: this.fleet.device(cell.device), options: {} });
  }

  private choose(cell: Cell | undefined, isByKey: boolean): void {
    if (!cell || !this.fleet) return;
    this.chosen = this.fleet.device(cell.device);
    this.surface.setAttribute("aria-activedescendant", "active-cell");
    const trouble = this.fleet.trouble(cell.device);
    this.active.textContent = [this.chosen, this.fleet.state(cell.device), this.fleet.place(cell.device), trouble?.reason].filter(Boolean).join(", ");
    this.dirty();
    if (isByKey && this.surface.matches(":focus-visible")) {
      this.showTip(cell);
      const top = this.surface.getBoundingClientRect().top + cell.y;
      if (top < 80 || top + cell.height > innerHeight - 40) scrollBy(0, top - innerHeight / 2);
    }
  }

  private key(event: KeyboardEvent): void {
    const from = this.cellOf(this.chosen) ?? this.layout.cells[0];
    if (!from || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves: Record<string, () => Cell | undefined> = {
      ArrowLeft: () => neighbour(this.layout, from, -1, 0), ArrowRight: () => neighbour(this.layout, from, 1, 0),
      ArrowUp: () => neighbour(this.layout, from, 0, -1), ArrowDown: () => neighbour(this.layout, from, 0, 1),
      Home: () => this.layout.cells[0], End: () => this.layout.cells[this.layout.cells.length - 1],
    };
    const move = moves[event.key];
    if (move) { this.choose(move() ?? from, true); event.preventDefault(); } else if (event.key === "Enter" && this.fleet) {
      app.go({ view: "device", subject: this.fleet.device(from.device), options: {} });
    } else if (event.key === "Escape") { this.chosen = null; this.hideTip(); this.dirty(); }
  }
}
