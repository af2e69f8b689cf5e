/** Draws groups and cells of the map on a canvas (design page, sections 5 and 10). */

import { app } from "../app";
import { colourOf, inkOf, mix } from "../colours";
import type { Colours } from "../colours";
import type { Fleet } from "../fleet_model";
import { NO_GROUP } from "../fleet_model";
import { paintShape } from "../shapes";
import type { State } from "../types";
import * as words from "../words";
import type { Cell, GroupBox, Layout } from "./map_layout";
import { commonPrefix } from "./map_layout";

/** What the cells wear beside their state. */
export interface Marks {
  chosen: string | null;
  ringed: Set<string>;
  /** Time at which a device changed its state, in ms. */
  changed: Map<string, number>;
}

export class MapPainter {
  constructor(private readonly context: CanvasRenderingContext2D, private readonly colours: Colours, private readonly fleet: Fleet, private readonly layout: Layout, private readonly range: [number, number] | null, private readonly marks: Marks) {}

  drawGroup(group: GroupBox, prefix: number): void {
    const { context, colours } = this;
    const { fleet } = this;
    const isDot = this.layout.density === "dot";
    if (!isDot) {
      context.fillStyle = colours.sunk ?? "";
      round(context, group, 10);
      context.fill();
    }
    const pad = isDot ? 0 : this.layout.density === "bay" ? 12 : 10;
    const y = group.y + (isDot ? 8 : group.headHeight / 2 + 1);
    context.textBaseline = "middle";
    let right = group.x + group.width - pad;
    const states: State[] = isDot ? ["critical", "warning"] : ["asleep", "unknown", "silent", "warning", "critical"];
    for (const state of states) {
      const n = group.members.reduce((sum, index) => sum + (fleet.state(index) === state ? 1 : 0), 0);
      if (n === 0) continue;
      context.font = "600 12px 'Inter Cut', system-ui";
      context.fillStyle = inkOf(state, colours);
      context.textAlign = "right";
      context.fillText(words.whole(n), right, y);
      right -= context.measureText(words.whole(n)).width + 10;
      if (isDot) break;
      context.fillStyle = context.strokeStyle = colourOf(state, colours);
      paintShape(context, state, right, y, 11);
      right -= 16;
    }
    context.textAlign = "left";
    const worst = group.members.some((index) => fleet.state(index) === "critical") ? "critical" : null;
    context.fillStyle = isDot && worst ? colours.critInk ?? "" : colours.ink ?? "";
    context.font = isDot ? "400 12px 'Inter Cut', system-ui" : "600 13px 'Inter Cut', system-ui";
    const room = right - group.x - pad;
    const title = fit(context, groupName(group.name.slice(prefix) || group.name), Math.max(30, room));
    context.fillText(title, group.x + pad, y);
    if (this.layout.density !== "bay") return;
    const used = context.measureText(title).width + 10;
    context.font = "400 12px 'Inter Cut', system-ui";
    context.fillStyle = colours.ink2 ?? "";
    const detail = this.groupDetail(group);
    if (context.measureText(detail).width < room - used) context.fillText(detail, group.x + pad + used, y);
  }

  private groupDetail(group: GroupBox): string {
    const { fleet } = this;
    const nouns = new Set(group.members.map((index) => fleet.noun(index)));
    const noun = nouns.size === 1 ? [...nouns][0] ?? "device" : "device";
    const metric = app.place.options.colour ?? "DiskTemp";
    const values = group.members.filter((index) => !fleet.isSilent(index)).map((index) => fleet.value(index, metric)).filter((value): value is number => value !== null);
    const n = `${words.whole(group.members.length)} ${group.members.length === 1 ? noun : words.plural(noun)}`;
    if (values.length === 0) return n;
    const unit = fleet.unit(metric);
    const [low, high] = [words.value(Math.min(...values), unit, "cell"), words.value(Math.max(...values), unit, "cell")];
    return `${n}, ${low === high ? low : `${low} to ${high}`} ${unit ?? ""}`;
  }

  drawCell(cell: Cell): void {
    const { context, colours } = this;
    const { fleet } = this;
    const state = fleet.state(cell.device);
    const trouble = fleet.trouble(cell.device);
    const isAcknowledged = trouble?.acknowledged ?? false;
    const [cx, cy] = [cell.x + cell.width / 2, cell.y + cell.height / 2];
    const device = fleet.device(cell.device);
    const metric = app.place.options.colour;
    const colour = colourOf(state, colours);
    if (this.layout.density === "dot") {
      const size = state === "ok" ? 8 : state === "critical" ? 12.5 : state === "warning" ? 11.5 : 10;
      if (metric) this.heat(cell, 5);
      context.fillStyle = context.strokeStyle = colour;
      paintShape(context, state, cx, cy, size, isAcknowledged);
    } else if (this.layout.density === "small") {
      const isLoud = state === "critical" || state === "warning";
      if (metric) this.heat(cell, 5);
      else if (isLoud && !isAcknowledged) {
        context.fillStyle = (state === "critical" ? colours.crit : colours.warnSoft) ?? "";
        round(context, cell, 5);
        context.fill();
        if (state === "warning") { context.lineWidth = 1; context.strokeStyle = colours.warnLine ?? ""; context.stroke(); }
      }
      context.fillStyle = context.strokeStyle = state === "critical" && !metric && !isAcknowledged ? colours.onCrit ?? "" : colour;
      paintShape(context, state, cx, cy, state === "ok" ? 9 : 13, isAcknowledged);
    } else this.drawBay(cell, state, isAcknowledged);
    if (this.marks.ringed.has(device) || this.marks.changed.has(device) || device === this.marks.chosen) {
      context.lineWidth = 2;
      context.strokeStyle = (device === this.marks.chosen ? colours.data : colours.ink) ?? "";
      round(context, { x: cell.x - 2, y: cell.y - 2, width: cell.width + 4, height: cell.height + 4 }, 7);
      context.stroke();
    }
  }

  private drawBay(cell: Cell, state: State, isAcknowledged: boolean): void {
    const { context, colours } = this;
    const { fleet } = this;
    const metric = app.place.options.colour;
    const value = metric && state !== "silent" ? fleet.value(cell.device, metric) : null;
    round(context, cell, 5);
    context.lineWidth = 1;
    context.setLineDash([]);
    let ink = colours.ink2 ?? "";
    let mark = colourOf(state, colours);
    let weight = 400;
    if (metric && value !== null) { this.heat(cell, 5); ink = colours.ink ?? ""; }
    if (state === "critical" && !metric && !isAcknowledged) {
      context.fillStyle = colours.crit ?? "";
      context.fill();
      ink = mark = colours.onCrit ?? "";
      weight = 600;
    } else if (state === "critical" || state === "warning") {
      if (!metric && !isAcknowledged) { context.fillStyle = (state === "warning" ? colours.warnSoft : colours.critSoft) ?? ""; context.fill(); }
      context.strokeStyle = (metric ? mark : state === "warning" ? colours.warnLine : colours.crit) ?? "";
      context.lineWidth = metric ? 2.5 : 1;
      round(context, cell, 5);
      context.stroke();
      if (!metric) ink = inkOf(state, colours);
      weight = 600;
    } else if (state === "silent" || state === "unknown") {
      context.setLineDash([3, 3]);
      context.strokeStyle = colours.line2 ?? "";
      context.stroke();
      context.setLineDash([]);
    } else if (state === "ok" && !metric) {
      context.fillStyle = colours.panel ?? "";
      context.fill();
      context.strokeStyle = colours.line ?? "";
      context.stroke();
    }
    const text = metric ? (value === null ? (state === "asleep" ? "" : "–") : `${words.value(value, fleet.unit(metric), "cell")}${fleet.unit(metric) === "°C" ? "°" : ""}`) : this.cellName(cell);
    context.font = `${weight} 12px 'Inter Cut', system-ui`;
    const showsShape = !(metric && state === "ok");
    const label = fit(context, text, cell.width - (showsShape ? 26 : 8));
    const textWidth = context.measureText(label).width;
    const total = textWidth + (showsShape ? 12 + (label ? 8 : 0) : 0);
    const left = cell.x + (cell.width - total) / 2;
    if (showsShape) {
      context.fillStyle = context.strokeStyle = mark;
      paintShape(context, state, left + 6, cell.y + cell.height / 2, state === "ok" ? 10 : 12, isAcknowledged);
    }
    context.fillStyle = ink;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(label, left + (showsShape ? 20 : 0), cell.y + cell.height / 2 + 1);
  }

  private heat(cell: Cell, radius: number): void {
    const { context, colours } = this;
    const metric = app.place.options.colour;
    const value = metric && !this.fleet.isSilent(cell.device) ? this.fleet.value(cell.device, metric) : null;
    if (value === null || !this.range) return;
    const [low, high] = this.range;
    context.fillStyle = mix(colours.heat0 ?? "", colours.heat1 ?? "", high > low ? (value - low) / (high - low) : 0);
    round(context, cell, radius);
    context.fill();
  }

  private cellName(cell: Cell): string {
    const { fleet } = this;
    const bay = fleet.label(cell.device, "bay");
    if (bay) return bay;
    const names = (this.layout.groups[cell.group]?.members ?? []).map((index) => fleet.device(index));
    const own = fleet.device(cell.device);
    return words.short(own.slice(commonPrefix(names)) || own, 14);
  }
}

export function groupName(name: string): string {
  return name === NO_GROUP || name === "" ? "others" : words.short(name, 40);
}

function round(context: CanvasRenderingContext2D, box: { x: number; y: number; width: number; height: number }, radius: number): void {
  context.beginPath();
  context.roundRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1, radius);
}

/** Cuts a text in its middle until it fits. */
function fit(context: CanvasRenderingContext2D, text: string, width: number): string {
  let length = Array.from(text).length;
  let cut = text;
  while (length > 1 && context.measureText(cut).width > width) {
    length = Math.max(1, Math.min(length - 1, Math.floor((length * width) / context.measureText(cut).width)));
    cut = words.short(text, length);
  }
  return cut;
}
