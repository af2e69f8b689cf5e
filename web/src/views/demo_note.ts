/** One line while simulated devices are there: what they are, and how to leave them out. Dismissed, it stays away. */

import { h } from "../dom";
import type { Fleet } from "../fleet_model";
import * as words from "../words";

const KEY = "spindle.demo-note";
const COMMAND = "spindle up --source host --source smart";

export class DemoNote {
  readonly element = h("p", { class: "demo-note", hidden: true });
  private said = "";

  show(fleet: Fleet): void {
    const n = isDismissed() ? 0 : fleet.all().filter((index) => fleet.label(index, "source") === "simulate").length;
    this.element.hidden = n === 0;
    const which = n === fleet.size ? "These devices are" : `${words.capital(words.count(n))} of these devices ${n === 1 ? "is" : "are"}`;
    if (n === 0 || which === this.said) return;
    this.said = which;
    const close = h("button", { "aria-label": "Do not show this line again", title: "Do not show this line again" }, "×");
    close.addEventListener("click", () => {
      try { localStorage.setItem(KEY, "dismissed"); } catch { /* Then it comes back with the next visit. */ }
      this.element.hidden = true;
    });
    this.element.replaceChildren(`${which} simulated: the demo fleet. To leave them out, start `, h("code", {}, COMMAND), ". ", close);
  }
}

function isDismissed(): boolean {
  try { return localStorage.getItem(KEY) === "dismissed"; } catch { return false; }
}
