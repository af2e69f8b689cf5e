/** The picture of the pipeline: boxes and arrows, as SVG; upright on narrow screens. */

import { h, svg } from "../dom";
import { shape } from "../shapes";
import type { State } from "../types";

export interface Stage {
  key: string;
  title: string;
  state: State;
  facts: [string, string][];
  fill?: number | null;
  blocked?: string | null;
  out?: { metrics: string; events: string; rate: number; eventRate: number };
}

interface Place { x: number; y: number; width: number; height: number }

const PLACES: Record<string, Place> = {
  daemon: { x: 20, y: 120, width: 190, height: 86 }, EVENTS: { x: 500, y: 12, width: 230, height: 86 }, METRICS: { x: 500, y: 150, width: 230, height: 100 },
  DEADLETTER: { x: 500, y: 292, width: 230, height: 66 }, detector: { x: 545, y: 108, width: 140, height: 32 }, writer: { x: 900, y: 120, width: 190, height: 86 },
  store: { x: 1180, y: 120, width: 180, height: 86 }, reader: { x: 1180, y: 262, width: 180, height: 86 },
};

export function picture(stages: Stage[], isUpright: boolean): Element {
  return isUpright ? upright(stages) : drawing(stages);
}

function drawing(stages: Stage[]): SVGElement {
  const root = svg("svg", { viewBox: "0 0 1376 372", class: "pipeline-picture", role: "img", "aria-label": stages.map((stage) => `${stage.title}: ${stage.facts.map((fact) => fact.join(" ")).join(", ")}`).join("; ") });
  const by = new Map(stages.map((stage) => [stage.key, stage]));
  const arrow = (from: string, to: string, path: string, rate: number, label: string, at: [number, number], isBlocked = false) => {
    if (!by.has(from) || !by.has(to)) return;
    const width = Math.max(3, Math.min(14, 3 + 3 * Math.log10(1 + rate)));
    const group = svg("g", { class: `flow ${isBlocked ? "blocked" : ""}` });
    const dashes = svg("path", { d: path, class: "flow-dash" });
    if (rate > 0 && !isBlocked) { dashes.style.animationDuration = `${Math.max(0.4, 2 - Math.log10(1 + rate) * 0.5)}s`; dashes.classList.add("moving"); }
    group.append(svg("path", { d: path, class: "flow-ground", "stroke-width": width }), dashes, head(path));
    if (label) { const text = svg("text", { x: at[0], y: at[1], class: "flow-label" }); text.textContent = label; group.append(text); }
    root.append(group);
  };
  const [daemon, writer, store] = [by.get("daemon"), by.get("writer"), by.get("store")];
  arrow("daemon", "EVENTS", "M210 145C360 145 340 55 494 55", daemon?.out?.eventRate ?? 0, daemon?.out?.events ?? "", [330, 84]);
  arrow("daemon", "METRICS", "M210 180H494", daemon?.out?.rate ?? 0, daemon?.out?.metrics ?? "", [352, 204]);
  arrow("EVENTS", "writer", "M730 55C880 55 760 145 894 145", writer?.out?.eventRate ?? 0, writer?.out?.events ?? "", [850, 84]);
  arrow("METRICS", "writer", "M730 180H894", writer?.out?.rate ?? 0, writer?.out?.metrics ?? "", [812, 204]);
  arrow("writer", "store", "M1090 163H1174", writer?.out?.rate ?? 0, "", [0, 0], Boolean(store?.blocked));
  arrow("store", "reader", "M1270 206V256", 1, "", [0, 0]);
  arrow("writer", "DEADLETTER", "M995 206V325H736", 0, "", [0, 0]);
  arrow("METRICS", "detector", "M615 150V142", 1, "", [0, 0]);
  arrow("detector", "EVENTS", "M615 108V101", 1, "", [0, 0]);
  for (const stage of stages) {
    const place = PLACES[stage.key];
    if (place) root.append(box(stage, place));
  }
  return root;
}

/** The head of an arrow, at the end of its path. */
function head(path: string): SVGElement {
  const numbers = path.match(/-?[\d.]+/g)?.map(Number) ?? [];
  const isVertical = /V[\d.]+$/.test(path);
  const [y] = [isVertical ? numbers[numbers.length - 1] ?? 0 : /H[\d.]+$/.test(path) ? numbers[numbers.length - 2] ?? 0 : numbers[numbers.length - 1] ?? 0];
  const x = isVertical ? numbers[0] ?? 0 : /H[\d.]+$/.test(path) ? numbers[numbers.length - 1] ?? 0 : numbers[numbers.length - 2] ?? 0;
  const before = isVertical ? numbers[1] ?? 0 : numbers[0] ?? 0;
  if (isVertical) { const d = y > before ? 1 : -1; return svg("path", { d: `M${x - 4.5} ${y - 6 * d}h9l-4.5 ${8 * d}z`, class: "flow-head" }); }
  const d = x > before ? 1 : -1;
  return svg("path", { d: `M${x - 6 * d} ${y - 4.5}v9l${8 * d} -4.5z`, class: "flow-head" });
}

function box(stage: Stage, place: Place): SVGElement {
  const group = svg("g", { class: `stage ${stage.state}` }, svg("rect", { ...place, rx: stage.key === "detector" ? 16 : 10 }));
  const text = (x: number, y: number, content: string, kind: string, anchor = "start") => { const element = svg("text", { x, y, class: kind, "text-anchor": anchor }); element.textContent = content; group.append(element); };
  const mark = shape(stage.state, 12);
  if (stage.key === "detector") {
    mark.setAttribute("x", String(place.x + 12));
    mark.setAttribute("y", String(place.y + 10));
    text(place.x + 30, place.y + 20.5, stage.title, "stage-title");
    text(place.x + place.width - 12, place.y + 20.5, stage.facts[0]?.[1] ?? "", "stage-fact", "end");
  } else {
    mark.setAttribute("x", String(place.x + place.width - 26));
    mark.setAttribute("y", String(place.y + 13));
    text(place.x + 14, place.y + 24, stage.title, "stage-title");
    stage.facts.forEach(([term, value], index) => { const y = place.y + 46 + index * 18; text(place.x + 14, y, term, "stage-term"); text(place.x + place.width - 14, y, value, "stage-fact", "end"); });
    if (typeof stage.fill === "number") {
      const width = place.width - 28;
      group.append(svg("rect", { x: place.x + 14, y: place.y + 82, width, height: 5, rx: 2.5, class: "fill-ground" }), svg("rect", { x: place.x + 14, y: place.y + 82, width: Math.max(2, width * Math.min(1, stage.fill)), height: 5, rx: 2.5, class: "fill-bar" }));
    }
  }
  group.append(mark);
  return group;
}

function upright(stages: Stage[]): HTMLElement {
  return h("ol", { class: "upright" }, ...stages.map((stage) => h("li", { class: stage.state }, h("div", { class: "side-head" }, h("b", null, stage.title), shape(stage.state, 12)), h("p", { class: "muted" }, stage.facts.map((fact) => fact.join(" ")).join(", ")), stage.out ? h("p", { class: "flow-rate" }, `↓ ${[stage.out.metrics, stage.out.eventRate > 0 ? stage.out.events : ""].filter(Boolean).join(", ")}`) : null)));
}
