/** Fleet: the sentence, what needs attention, and every device in its place. */

import { app, SHOWN_METRICS } from "../app";
import type { View } from "../app";
import { fill, h } from "../dom";
import type { Fleet } from "../fleet_model";
import { select } from "../controls";
import { shape, STATES } from "../shapes";
import { ofFleet } from "../sentence";
import type { State } from "../types";
import { verdict } from "../verdict";
import * as words from "../words";
import { DemoNote } from "./demo_note";
import { FleetList } from "./fleet_list";
import { FleetMap, MAX_BY_PLACE } from "./fleet_map";
import { columnChoice, FleetTable } from "./fleet_table";
import { NotOkChart } from "./not_ok";
import { Pulse } from "./pulse";

export function fleetView(): View {
  const head = h("div");
  const tools = h("div", { class: "tools" });
  const columns = h("div", { class: "columns" });
  const notOk = new NotOkChart();
  const pulse = new Pulse();
  const demo = new DemoNote();
  let map: FleetMap | null = null;
  let table: FleetTable | null = null;
  const list = new FleetList((devices) => map?.ring(devices));
  const element = h("div", { class: "fleet" }, head, demo.element, tools, columns);
  let current = verdict();

  const update = () => {
    const fleet = app.fleet;
    if (!fleet) return;
    current = verdict();
    const said = ofFleet(fleet, app.incidents);
    fill(head, current.show(said, notOk.element));
    notOk.show(fleet);
    demo.show(fleet);
    const shown = filtered(fleet);
    drawTools(tools, fleet, map?.scale() ?? null);
    const isTable = app.place.options.view === "table";
    if (isTable) {
      map?.close();
      map = null;
      table ??= new FleetTable();
      if (columns.firstChild !== table.element) { columns.className = "columns whole"; fill(columns, table.element); }
      table.show(fleet, shown);
    } else {
      table?.close();
      table = null;
      map ??= new FleetMap((device) => list.highlight(device));
      if (!columns.contains(map.element)) {
        columns.className = "columns";
        fill(columns, h("div", { class: "left" }, list.element), h("div", { class: "right" }, map.element));
      }
      list.show(fleet, app.incidents);
      const empty = shown.length === 0;
      map.show(fleet, shown);
      columns.classList.toggle("nothing", empty);
      drawTools(tools, fleet, map.scale());
      pulse.show(fleet);
      // Under the column that is shorter.
      const [left, right] = [columns.querySelector(".left"), columns.querySelector(".right")];
      const home = innerWidth >= 720 && list.element.offsetHeight + 160 < map.element.offsetHeight ? left : right;
      if (home && pulse.element.parentElement !== home) home.append(pulse.element);
    }
  };

  return {
    element, update, move: update,
    tick: () => { current.tick(); list.tick(); },
    key: (event) => {
      if (event.key === "m") { app.option("view", app.place.options.view === "table" ? "" : "table"); return true; }
      return false;
    },
    close: () => { map?.close(); table?.close(); pulse.close(); },
  };
}

/** Devices that the chips and the text leave. */
function filtered(fleet: Fleet): number[] {
  const states = new Set((app.place.options.state ?? "").split(",").filter(Boolean));
  const text = (app.place.options.q ?? "").toLowerCase();
  return fleet.all().filter((index) => (states.size === 0 || states.has(fleet.state(index)))
    && (text === "" || [fleet.device(index), fleet.place(index), fleet.label(index, "model")].some((each) => each?.toLowerCase().includes(text))));
}

function drawTools(tools: HTMLElement, fleet: Fleet, scale: [number, number] | null): void {
  const chosen = new Set((app.place.options.state ?? "").split(",").filter(Boolean));
  const chip = (state: State) => {
    const n = fleet.count(state);
    if (n === 0 && state === "unknown") return null;
    const button = h("button", { class: "chip", "aria-pressed": chosen.has(state) ? "true" : "false" }, shape(state, 12), h("b", { class: "num" }, words.whole(n)), ` ${state}`);
    button.addEventListener("click", () => {
      if (chosen.has(state)) chosen.delete(state); else chosen.add(state);
      app.option("state", [...chosen].join(","));
    });
    return button;
  };
  const all = h("button", { class: "chip", "aria-pressed": chosen.size === 0 ? "true" : "false" }, "All ", h("b", { class: "num" }, words.whole(fleet.size)));
  all.addEventListener("click", () => app.go({ options: Object.fromEntries(Object.entries(app.place.options).filter(([key]) => key !== "state" && key !== "q")) }));
  const { options } = app.place;
  const isTable = options.view === "table";
  const groups = [...fleet.labelKeys().filter((key) => key !== "bay"), "none"];
  const group = options.group ?? (fleet.labelKeys().includes("enclosure") ? "enclosure" : "class");
  const view = (text: string, wanted: string) => {
    const button = h("button", { "aria-pressed": (options.view ?? "") === wanted ? "true" : "false" }, text);
    button.addEventListener("click", () => { app.option("view", wanted); void app.load(); });
    return button;
  };
  const colour = options.colour;
  fill(tools,
    h("div", { class: "chips", role: "group", "aria-label": "states" }, all, ...STATES.map(chip)),
    options.q ? filterNote(options.q) : null,
    h("span", { class: "grow" }),
    isTable ? null : select("Group", group, groups.map((key) => [key, words.capital(key)]), (key) => app.option("group", key)),
    colour && scale && !isTable ? h("span", { class: "scale num faint" }, words.value(scale[0], fleet.unit(colour), "cell"), h("i"), `${words.value(scale[1], fleet.unit(colour), "cell")} ${fleet.unit(colour) ?? ""}`) : null,
    isTable ? null : select("Colour", colour ?? "", [["", "Health"], ...[...new Set([...SHOWN_METRICS, ...fleet.metricTypes()])].map((metric): [string, string] => [metric, words.metric(metric)])], (metric) => { app.option("colour", metric); void app.load(); }),
    isTable ? null : select("Order", options.order ?? (fleet.size > MAX_BY_PLACE ? "worst" : "place"), [["place", "Place"], ["worst", "Worst first"]], (order) => app.option("order", order)),
    isTable ? keepOpen(tools, columnChoice(fleet)) : null,
    h("div", { class: "switch", role: "group", "aria-label": "form" }, view("Map", ""), view("Table", "table")),
  );
}

/** A choice that was open stays open when the tools are drawn again. */
function keepOpen(tools: HTMLElement, choice: HTMLElement): HTMLElement {
  choice.toggleAttribute("open", tools.querySelector(".column-choice")?.hasAttribute("open") ?? false);
  return choice;
}

function filterNote(text: string): HTMLElement {
  const button = h("button", { class: "chip", "aria-pressed": "true", "aria-label": `Remove the filter ${text}` }, `“${words.short(text, 24)}” ×`);
  button.addEventListener("click", () => app.option("q", ""));
  return button;
}
