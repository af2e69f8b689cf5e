/** Controls that several views use. */

import { h } from "./dom";
import { icon } from "./shapes";

/** A choice with its name before it: "Group Enclosure ⌄". */
export function select(label: string, value: string, options: [string, string][], onChange: (value: string) => void): HTMLElement {
  const field = h("select", { "aria-label": label }, ...options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  field.addEventListener("change", () => onChange(field.value));
  const shown = options.find(([key]) => key === value)?.[1] ?? value;
  return h("label", { class: "select" }, h("span", { class: "muted" }, label), h("b", null, shown), icon("down", 12), field);
}
