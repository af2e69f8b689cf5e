/** The link from a device to its dashboard in Grafana, where the program names one: it writes the address into the page. */

import type { Range } from "./address";
import { h } from "./dom";

const DASHBOARD = "/d/spindle-device";

/** Address of the dashboard over the same range; one that ends now is live there too. */
export function dashboard(base: string, device: string, range: Range): string {
  const [from, to] = "from" in range ? [range.from, range.until] : [`now-${range.minutes}m`, "now"];
  return `${base}${DASHBOARD}?var-SourceDevice=${encodeURIComponent(device)}&from=${from}&to=${to}`;
}

export function grafanaLink(device: string, range: Range): HTMLElement | null {
  const base = document.querySelector<HTMLMetaElement>('meta[name="spindle-grafana"]')?.content ?? "";
  return base === "" ? null : h("a", { class: "link muted", href: dashboard(base, device, range), title: "The same device and range in Grafana" }, "In Grafana");
}
