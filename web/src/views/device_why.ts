/** Why: each finding with what is expected of it, and what is as expected. */

import * as api from "../api";
import { accept } from "../decide";
import { h } from "../dom";
import { shape } from "../shapes";
import type { DeviceHealth, Reason } from "../types";
import * as words from "../words";
import { against } from "./why_words";

type Units = Record<string, { unit?: string }>;

/** Table of the findings; `null` if there is none, or only the silence that the sentence says. */
export function why(health: DeviceHealth, metrics: Units, again: () => void): HTMLElement | null {
  const bad = health.reasons.filter((reason) => reason.health !== "ok" || reason.accepted);
  if (bad.length === 0 || bad.every((reason) => reason.metric === "silence" && !reason.accepted)) return null;
  return h("table", { class: "why" },
    h("thead", null, h("tr", null, h("th", null), h("th", null, "Why"), h("th", { class: "right" }, "Now"), h("th", null, "Against what is expected"), h("th", null, "Since"), h("th", null, h("span", { class: "hidden" }, "decide")))),
    h("tbody", null, ...bad.map((reason) => row(health.device, reason, metrics, again))));
}

/** Notes that change no verdict. */
export function notes(health: DeviceHealth): HTMLElement | null {
  const found = health.reasons.filter((reason) => reason.health === "ok" && !reason.accepted);
  if (found.length === 0) return null;
  const text = found.slice(0, 3).map((reason) => words.reason(reason.why, api.now())).join("; ");
  return h("p", { class: "as-expected" }, shape("ok", 12), h("span", null, `Also seen: ${text}${found.length > 3 ? ` and ${found.length - 3} more` : ""}.`));
}

function row(device: string, reason: Reason, metrics: Units, again: () => void): HTMLElement {
  const since = words.millis(reason.since);
  const isMetric = reason.metric in metrics;
  const unit = metrics[reason.metric]?.unit;
  const { detail, meaning } = against(reason, isMetric, api.now());
  const until = words.millis(reason.accepted?.until);
  return h("tr", null,
    h("td", { class: "shape-cell" }, shape(reason.health, 13, Boolean(reason.accepted)), h("span", { class: "hidden" }, reason.health)),
    h("td", { class: "what" }, words.metric(reason.metric)),
    h("td", { class: "right num now" }, isMetric ? [words.value(reason.value, unit), unit ? h("span", { class: "unit" }, `\u2009${unit}`) : null] : ""),
    h("td", { class: "against", title: reason.why, dir: "auto" }, detail, meaning ? h("span", { class: "faint" }, ` · ${meaning}`) : null),
    h("td", { class: "num muted since", title: reason.since ?? "" }, Number.isNaN(since) ? "" : `${words.clock(since, api.now())}, ${words.duration((api.now() - since) / 1000)}`),
    h("td", { class: "right" }, reason.accepted
      ? h("span", { class: "muted", title: words.name(reason.accepted.reason ?? "") }, `accepted${Number.isNaN(until) ? "" : ` until ${words.clock(until, api.now())}`}`)
      : button(reason.metric, () => accept(device, reason.metric, again))));
}

function button(metric: string, act: () => void): HTMLElement {
  const element = h("button", { class: "link muted", "data-key": `accept ${metric}`, "aria-label": `Accept ${words.metric(metric)}` }, "Accept…");
  element.addEventListener("click", act);
  return element;
}
