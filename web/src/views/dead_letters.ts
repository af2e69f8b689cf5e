/** Dead letters: how many wait, and how to read, replay and drop them. */

import { fill, h } from "../dom";
import * as words from "../words";

export class DeadLetters {
  readonly element = h("section", { class: "letters", "aria-label": "Dead letters" });
  private count = -1;

  show(count: number, bytes: number): void {
    if (count === this.count) return;
    this.count = count;
    const head = (text: string) => h("div", { class: "side-head" }, h("h2", null, "Dead letters"), h("span", { class: "muted" }, text));
    if (count === 0) { fill(this.element, head("none"), h("p", { class: "muted" }, "Everything that came was understood and stored.")); return; }
    fill(this.element, head(`${words.whole(count)}, ${words.number(bytes)}B`), h("p", { class: "muted" }, "Messages that could not be stored are kept with the reason and their bytes:"),
      h("pre", { class: "code" }, "spindle dlq ls\nspindle dlq show NUMBER\nspindle dlq replay NUMBER\nspindle dlq drop NUMBER"));
  }
}
