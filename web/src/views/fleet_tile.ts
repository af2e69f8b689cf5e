/** A device as a tile, for fleets of at most 24: name, three values, a curve. */

import { app } from "../app";
import { h } from "../dom";
import type { Fleet } from "../fleet_model";
import { shape } from "../shapes";
import { sparkline } from "../spark";
import * as words from "../words";

const SHOWN = ["DiskTemp", "Latency", "CapacityUsed"];

export function tile(fleet: Fleet, index: number): HTMLElement {
  const [device, state, trouble] = [fleet.device(index), fleet.state(index), fleet.trouble(index)];
  const curve = app.place.options.colour ?? ["IOPs", "DiskTemp"].find((metric) => fleet.value(index, metric) !== null);
  const shown = SHOWN.filter((metric) => metric !== curve && fleet.value(index, metric) !== null);
  const text = (metric: string) => {
    const unit = fleet.unit(metric);
    return [h("span", { class: "num" }, words.value(fleet.value(index, metric), unit)), unit ? h("span", { class: "faint" }, `\u2009${unit}`) : ""];
  };
  const isKnown = state !== "silent" && fleet.heard(index) !== null;
  const element = h("a", { class: `tile ${state}`, href: `/device/${encodeURIComponent(device)}`, "data-device": device, tabindex: "-1", "aria-hidden": "true" },
    h("div", { class: "tile-head" }, shape(state, 12, trouble?.acknowledged), h("b", { dir: "auto", title: device }, words.short(device, 26)), h("span", { class: "faint tile-place" }, fleet.place(index))),
    isKnown
      ? h("div", { class: "tile-values" }, ...shown.map((metric) => h("span", { title: words.metric(metric) }, text(metric))), h("span", { class: "grow" }), curve ? h("span", { title: words.metric(curve) }, text(curve)) : "")
      : h("div", { class: "faint" }, state === "silent" ? "–" : "nothing heard yet"),
  );
  if (curve) element.append(sparkline(device, curve));
  element.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    app.go({ view: "device", subject: device, options: {} });
  });
  return element;
}
