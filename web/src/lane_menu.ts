/** Menu of a lane: its size, and its values as a table. */

import { now } from "./api";
import { h, fill } from "./dom";
import { icon } from "./shapes";
import type { Lane } from "./lane_data";
import * as words from "./words";

export interface LaneMenu { button: HTMLElement; table: HTMLElement; draw: () => void }

/** Makes the menu of a lane, closed, and the place of its table, hidden. */
export function menu(lane: () => Lane, turn: () => void): LaneMenu {
  const table = h("div", { class: "lane-table scroll", tabindex: "0", role: "region", hidden: true });
  const draw = () => { if (!table.hidden) { table.setAttribute("aria-label", `${lane().title} as table`); fill(table, tableOf(lane())); } };
  const list = h("div", { class: "menu", role: "menu", hidden: true });
  const button = h("button", { class: "lane-more", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": `menu of ${lane().title}` }, icon("more", 14));
  const open = (isOpen: boolean) => {
    list.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) { fill(list, ...items()); list.querySelector("button")?.focus(); }
  };
  const item = (text: string, act: () => void) => {
    const element = h("button", { role: "menuitem" }, text);
    element.addEventListener("click", () => { open(false); button.focus(); act(); });
    return element;
  };
  const items = () => [
    item(table.hidden ? "As table" : "Hide the table", () => { table.hidden = !table.hidden; draw(); }),
    item("Larger or smaller", turn),
  ];
  button.addEventListener("click", () => open(list.hasAttribute("hidden")));
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll("button")];
    const at = all.findIndex((each) => each === document.activeElement);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") all[(at + (event.key === "ArrowDown" ? 1 : -1) + all.length) % all.length]?.focus();
    else if (event.key === "Escape") { open(false); button.focus(); } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const place = h("div", { class: "lane-menu" }, button, list);
  place.addEventListener("focusout", (event) => { if (!(event.relatedTarget instanceof Node && place.contains(event.relatedTarget))) open(false); });
  return { button: place, table, draw };
}

function tableOf(lane: Lane): HTMLElement {
  const unit = lane.unit ? ` (${lane.unit})` : "";
  const rows = lane.buckets.map((bucket, index) => ({ bucket, band: lane.expected[index] ?? null })).reverse();
  const cell = (value: number | undefined) => h("td", { class: "right num" }, words.value(value, lane.unit));
  return h("table", { class: "answer-table" },
    h("caption", { class: "hidden" }, `${lane.title}${unit}, newest first`),
    h("thead", null, h("tr", null, ...[`Time, ${words.zone(now())}`, `Mean${unit}`, "Least", "Most", "Values", "Expected from", "to"].map((text, at) => h("th", { class: at > 0 ? "right" : "", scope: "col" }, text)))),
    h("tbody", null, ...rows.map(({ bucket, band }) => h("tr", null,
      h("td", { class: "num" }, h("time", { datetime: bucket.time, title: bucket.time }, words.clock(words.millis(bucket.time), now(), true))),
      cell(bucket.mean), cell(bucket.min), cell(bucket.max), h("td", { class: "right num" }, words.whole(bucket.count)), cell(band?.[0]), cell(band?.[1])))));
}
