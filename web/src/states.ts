/** States of the page when there is nothing to draw (design page, section 14). */

import * as api from "./api";
import { app } from "./app";
import { h } from "./dom";
import { shape } from "./shapes";
import * as words from "./words";

/** Still grey shapes of the layout. */
export function loading(): HTMLElement {
  const block = (width: string, height: number, gap = 12) => { const element = h("div"); Object.assign(element.style, { width, height: `${height}px`, marginBottom: `${gap}px` }); return element; };
  return h("div", { class: "skeleton", role: "status", "aria-busy": "true", "aria-label": "loading" }, block("42%", 30, 12), block("34%", 16, 36), block("60%", 30, 20), block("100%", 180, 16), block("100%", 180));
}

/** What failed, in the server's words, and what can be done. */
export function statePage(error: unknown, again: () => void): HTMLElement {
  const [status, message] = error instanceof api.AnswerError ? [error.status, error.message] : [0, String(error)];
  if (status === 401) return token(again);
  if (status === 400 || status === 404) return notFound(message);
  const isAway = status === 0;
  const retry = h("button", { class: "control primary" }, "Try again now");
  retry.addEventListener("click", again);
  const pipeline = h("a", { class: "control", href: "/pipeline", "data-link": true }, "See the pipeline");
  return h("div", { class: "state-page" }, shape(isAway ? "silent" : "warning", 24),
    h("h1", null, isAway ? "Spindle does not answer" : "The store does not answer"),
    h("p", { class: "muted" }, isAway ? "The connection is lost or the program has ended. What arrives meanwhile stays in the streams of NATS." : "No picture can be drawn without it. Nothing is lost meanwhile: the streams hold what arrives."),
    h("pre", null, message), h("div", { class: "row" }, retry, pipeline));
}

function token(again: () => void): HTMLElement {
  const field = h("input", { type: "password", class: "field", "aria-label": "token", autocomplete: "current-password" });
  const form = h("form", { class: "row" }, field, h("button", { class: "control primary" }, "Go on"));
  form.addEventListener("submit", (event) => { event.preventDefault(); api.keepToken(field.value.trim()); again(); });
  return h("div", { class: "state-page" }, shape("unknown", 24), h("h1", null, "A token is needed"),
    h("p", { class: "muted" }, "This Spindle answers only with its token: SPINDLE_HTTP_TOKEN, or SPINDLE_WEB_TOKEN in .env. It is kept until this tab closes."), form);
}

export function notFound(message: string): HTMLElement {
  const wanted = app.place.subject;
  const near = app.fleet?.all().map((index) => app.fleet?.device(index) ?? "").filter((name) => name.toLowerCase().includes(wanted.toLowerCase().slice(0, 5))).slice(0, 6) ?? [];
  return h("div", { class: "state-page" }, shape("unknown", 24), h("h1", null, wanted ? `${words.short(wanted, 40)} is not known` : "There is no such page"),
    h("p", { class: "muted" }, near.length > 0 ? "Names like it:" : "Press / to find a device."), h("ul", null, ...near.map((name) => h("li", null, h("a", { href: `/device/${encodeURIComponent(name)}`, "data-link": true }, words.name(name))))), h("pre", null, message));
}

/** Nothing has arrived yet. */
export function empty(isStarting: boolean): HTMLElement {
  const readiness = h("p", { class: "muted" });
  void api.text("/readyz").then(({ status, body }) => { readiness.textContent = status === 200 ? "NATS, the streams and the store are ready; awaited: the first value." : `Awaited: ${body.trim()}.`; }, () => undefined);
  return h("div", { class: "state-page" }, isStarting ? shape("silent", 24) : null, h("h1", null, isStarting ? "Waiting for the first value" : "No devices yet"),
    h("p", { class: "muted" }, isStarting ? "This page fills by itself." : "Nobody has sent a value. Start a source, or send one yourself."), readiness,
    h("pre", null, "spindle up --source host --source smart   # the drives of this machine\nspindle up --devices 50                    # a simulated fleet\nnats pub events.metrics '{\"timestamp\":\"…\",\"sourceDevice\":\"d1\",\"metricType\":\"DiskTemp\",\"value\":36.5}'"),
    h("p", { class: "faint" }, "The first value shows here within seconds."));
}
