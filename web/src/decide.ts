/** Decisions: acknowledge a device, accept a finding. A dialog asks for the reason; the server keeps it. */

import * as api from "./api";
import { h } from "./dom";
import { modal } from "./modal";
import * as words from "./words";

const EXPIRIES: [string, string][] = [["", "no end"], ["1", "1 day"], ["7", "7 days"], ["30", "30 days"], ["365", "a year"]];

export function acknowledge(device: string, done: () => void): void {
  dialog(`Acknowledge ${words.short(device, 60)}`, "Somebody is on it: its shape turns hollow. The verdict stays.", "7", (reason, until) =>
    api.send("/api/v1/acknowledge", { source_device: device, reason, ...(until ? { until } : {}) }).then(done));
}

export function accept(device: string, metric: string, done: () => void): void {
  dialog(`Accept ${words.metric(metric)} of ${words.short(device, 60)}`, "The finding leaves the verdict until it gets worse, and stays visible as accepted.", "", (reason, until) =>
    api.send("/api/v1/accept", { source_device: device, metric, reason, ...(until ? { until } : {}) }).then(done));
}

function dialog(title: string, text: string, expiry: string, send: (reason: string, until: string | null) => Promise<void>): void {
  const reason = h("input", { class: "field", required: true, maxlength: 500, "aria-label": "reason" });
  const until = h("select", { class: "field", "aria-label": "until" }, ...EXPIRIES.map(([days, word]) => h("option", { value: days, selected: days === expiry }, word)));
  const problem = h("p", { class: "problem", role: "alert" });
  const cancel = h("button", { class: "control", type: "button" }, "Cancel");
  cancel.addEventListener("click", () => box.close());
  const form = h("form", null, h("h2", { dir: "auto" }, title), h("p", { class: "muted" }, text), h("label", null, "Reason", reason), h("label", null, "Until", until), problem, h("div", { class: "row" }, h("button", { class: "control primary" }, "Save"), cancel));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const end = until.value === "" ? null : new Date(api.now() + Number(until.value) * 86_400_000).toISOString();
    send(reason.value, end).then(() => box.close()).catch((error: unknown) => { problem.textContent = error instanceof Error ? error.message : String(error); });
  });
  const box = modal("", title, form);
  reason.focus();
}
