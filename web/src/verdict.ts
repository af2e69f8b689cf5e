/** The head of a view: shape, sentence, and a line below that counts on. */

import { now } from "./api";
import { append, h } from "./dom";
import type { Child } from "./dom";
import type { Verdict } from "./sentence";
import { shape } from "./shapes";
import * as words from "./words";

export interface VerdictElement {
  /** `more` follows the facts of the verdict, `word` stands before its start. */
  show(verdict: Verdict & { word?: string; more?: Child }, side?: HTMLElement | null): HTMLElement;
  tick(): void;
}

export function verdict(): VerdictElement {
  let since = NaN;
  const lasting = h("b", { class: "num" });
  const tick = () => { if (!Number.isNaN(since)) lasting.textContent = words.duration((now() - since) / 1000); };
  return {
    show(said, side) {
      since = said.since;
      tick();
      const line = h("p");
      if (!Number.isNaN(since)) line.append(`${said.word ? `${said.word} since` : "Since"} ${words.clock(since, now())}, for `, lasting, ". ");
      if (said.advice) line.append(h("b", { class: "advice" }, `${said.advice.replace(/\.$/, "")}.`), " ");
      line.append(said.rest);
      append(line, [said.more]);
      return h("header", { class: "verdict" }, shape(said.state, 26), h("div", null, h("h1", null, said.title), line), side ? h("div", { class: "side" }, side) : null);
    },
    tick,
  };
}
