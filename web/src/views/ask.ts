/** Ask: every question of the API as a form, made from its description. */

import * as api from "../api";
import { app } from "../app";
import type { View } from "../app";
import { fill, h } from "../dom";
import { icon, shape } from "../shapes";
import type { State } from "../types";
import * as words from "../words";
import { paramOf } from "./ask_param";

interface Param { type?: string | string[]; enum?: (string | null)[]; minimum?: number; maximum?: number; default?: string | number; description?: string; format?: string; "x-default"?: string }
interface Question { type: string; text: string; params: [string, Param][]; required: string[] }
interface Schema { description?: string; "x-order"?: string[]; properties: { query_type: { const: string }; params: { properties: Record<string, Param>; required?: string[] } } }

let questions: Promise<Question[]> | null = null;

/** Reads the questions from the OpenAPI document. */
function loadQuestions(): Promise<Question[]> {
  questions ??= api.text("/api/v1/openapi.json").then(({ status, body }) => {
    if (status !== 200) throw new api.AnswerError(status, body);
    const document = JSON.parse(body) as { components: { schemas: Record<string, Schema> } };
    return Object.entries(document.components.schemas).filter(([name]) => name.startsWith("query_")).map(([, schema]) => ({
      type: schema.properties.query_type.const, text: schema.description ?? "", params: (schema["x-order"] ?? Object.keys(schema.properties.params.properties)).flatMap((name): [string, Param][] => { const param = schema.properties.params.properties[name]; return param ? [[name, param]] : []; }), required: schema.properties.params.required ?? [],
    }));
  });
  questions.catch(() => { questions = null; });
  return questions;
}

export function askView(): View {
  const list = h("nav", { class: "ask-list", "aria-label": "Question" });
  const form = h("form", { class: "ask-form" });
  const answer = h("section", { class: "ask-answer", "aria-live": "polite" });
  const element = h("div", { class: "ask" }, list, form, answer);
  let abort = new AbortController();
  let shown = "";

  const draw = async () => {
    let all: Question[];
    try { all = await loadQuestions(); } catch (error) { fill(answer, h("p", { class: "partial" }, error instanceof Error ? error.message : String(error))); return; }
    const question = all.find((each) => each.type === app.place.subject) ?? all.find((each) => each.type === "fleet_health") ?? all[0];
    if (!question) return;
    fill(list, h("h2", null, "Question"), h("ul", null, ...all.map((each) => h("li", null, h("a", { href: `/ask/${each.type}`, "data-link": true, ...(each === question ? { "aria-current": "page" } : {}) }, h("b", null, each.type), h("span", { class: "muted" }, lower(each.text)))))),
      phoneChoice(all, question));
    if (shown === question.type) return;
    shown = question.type;
    fill(answer);
    drawForm(question);
    const missing = question.required.find((name) => !app.place.options[name]);
    if (missing === undefined) void run(question); else fill(answer, h("p", { class: "muted" }, `Give ${missing} and press Enter.`));
  };

  const drawForm = (question: Question) => {
    const go = h("button", { class: "control primary" }, "Ask", h("kbd", null, "Enter"));
    const reset = h("button", { class: "link muted", type: "button" }, "Reset");
    reset.addEventListener("click", () => { form.reset(); for (const field of form.querySelectorAll<HTMLInputElement>(".field")) field.value = ""; app.go({ options: {} }, "replace"); });
    fill(form, h("h1", { class: "ask-title" }, question.type), h("p", { class: "muted" }, question.text), ...question.params.map(([name, param]) => field(question, name, param)), h("div", { class: "row" }, go, reset), h("h2", null, "The same from elsewhere"), elsewhere(question));
    form.onsubmit = (event) => { event.preventDefault(); app.go({ view: "ask", subject: question.type, options: values() }, "replace"); void run(question); };
    form.oninput = () => { form.querySelector(".elsewhere")?.replaceWith(elsewhere(question)); };
  };

  const values = (): Record<string, string> => Object.fromEntries([...form.querySelectorAll<HTMLInputElement | HTMLSelectElement>(".field")].filter((each) => each.value.trim() !== "").map((each) => [each.name, each.value.trim()]));
  const params = (question: Question): Record<string, unknown> => Object.fromEntries(Object.entries(values()).map(([name, text]) => {
    const types = question.params.find(([key]) => key === name)?.[1].type ?? [];
    const type = [types].flat()[0];
    return [name, (type === "integer" || type === "number") && text !== "" && Number.isFinite(Number(text)) ? Number(text) : type === "boolean" ? text === "true" : text];
  }));

  const elsewhere = (question: Question): HTMLElement => {
    const given = params(question);
    const body = JSON.stringify({ query_type: question.type, params: given });
    const token = api.hasToken() ? ' -H "authorization: Bearer $SPINDLE_HTTP_TOKEN"' : "";
    const quote = (text: string) => (/^[\w.:@/+=-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);
    const forms: Record<string, string> = {
      spindle: ["spindle query", question.type, ...Object.entries(given).map(([name, value]) => quote(`${name}=${String(value)}`))].join(" "),
      curl: `curl -s ${location.origin}/api/v1/query${token} -d ${quote(body)}`, nats: `nats request reader.query ${quote(body)}`,
    };
    const box = h("pre", { class: "code" }, forms.spindle ?? "");
    const tabs = Object.keys(forms).map((name, at) => {
      const tab = h("button", { type: "button", "aria-pressed": at === 0 ? "true" : "false" }, name);
      tab.addEventListener("click", () => { box.textContent = forms[name] ?? ""; for (const each of tabs) each.setAttribute("aria-pressed", String(each === tab)); });
      return tab;
    });
    return h("div", { class: "elsewhere" }, h("div", { class: "switch" }, ...tabs), box);
  };

  const run = async (question: Question) => {
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    for (const old of form.querySelectorAll(".problem")) old.remove();
    for (const old of form.querySelectorAll("[aria-invalid]")) { old.removeAttribute("aria-invalid"); old.removeAttribute("aria-describedby"); }
    answer.classList.add("dimmed");
    const began = performance.now();
    try {
      const response = await api.ask<Record<string, unknown>>(question.type, params(question), signal);
      answer.classList.remove("dimmed");
      drawAnswer(answer, response, performance.now() - began);
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      const name = paramOf(message, question.params.map(([each]) => each));
      const own = name === null ? null : form.querySelector<HTMLElement>(`[data-param="${CSS.escape(name)}"]`);
      const problem = h("p", { class: "problem", role: "alert", id: "ask-problem" }, shape("warning", 12), h("span", null, words.name(message)));
      if (own) own.append(problem); else form.querySelector(".row")?.after(problem);
      const field = own?.querySelector<HTMLElement>(".field");
      field?.setAttribute("aria-invalid", "true");
      field?.setAttribute("aria-describedby", "ask-problem");
      field?.focus();
    }
  };
  void draw();
  return { element, move: () => void draw(), close: () => abort.abort() };
}

function lower(text: string): string { return text.replace(/^Returns /, "").replace(/\.$/, ""); }

function phoneChoice(all: Question[], own: Question): HTMLElement {
  const field = h("select", { class: "field ask-choice", "aria-label": "Question" }, ...all.map((each) => h("option", { value: each.type, selected: each === own }, each.type)));
  field.addEventListener("change", () => app.go({ view: "ask", subject: field.value, options: {} }));
  return field;
}

/** Longest list of words that stands beside the name of a field. */
const MAX_WORDS = 34;

function field(question: Question, name: string, param: Param): HTMLElement {
  const value = app.place.options[name] ?? "";
  const fallback = String(param.default ?? param["x-default"] ?? (question.required.includes(name) ? "required" : ""));
  const choices = param.enum?.filter((each) => each !== null);
  const all = `one of ${choices?.join(", ") ?? ""}`;
  const range = param.enum ? (all.length <= MAX_WORDS ? all : `one of ${choices?.length ?? 0} words`) : param.minimum !== undefined ? `${words.whole(param.minimum)} to ${words.whole(param.maximum ?? 0)}` : param.format === "date-time" ? "RFC 3339" : "";
  const input = choices
    ? h("select", { class: "field", name }, h("option", { value: "" }, fallback || "any"), ...choices.map((each) => h("option", { value: each, selected: each === value }, each)))
    : h("input", { class: "field", name, value, placeholder: fallback, autocomplete: "off", spellcheck: "false", inputmode: [param.type].flat()[0] === "integer" ? "numeric" : null });
  return h("label", { "data-param": name }, h("span", { class: "ask-label" }, h("span", null, name), h("span", { class: "faint" }, range)), input, h("span", { class: "faint small" }, (param.description ?? "").replace(/`/g, "")));
}

function drawAnswer(home: HTMLElement, response: Record<string, unknown>, took: number): void {
  const { data, basis } = response as { data: unknown; basis?: { from?: string; until?: string; n_points?: number } };
  const rows = Array.isArray(data) ? (data as Record<string, unknown>[]) : null;
  const summary = response.summary;
  const json = h("pre", { class: "code", tabindex: "0" });
  const table = rows ? tableOf(rows) : h("dl", { class: "labels answer" }, ...Object.entries((data ?? {}) as Record<string, unknown>).flatMap(([key, value]) => [h("dt", { class: "muted" }, key), h("dd", null, plain(value))]));
  const about = Array.isArray(summary) && summary.length > 0 ? h("section", null, h("h3", null, "Summary"), tableOf(summary as Record<string, unknown>[])) : null;
  const shownTable = h("div", null, table, about);
  const box = h("div", null, shownTable);
  const copy = h("button", { class: "control" }, icon("copy", 14), "Copy");
  copy.addEventListener("click", () => { void navigator.clipboard.writeText(JSON.stringify(response, null, 2)); copy.lastChild?.replaceWith("Copied"); });
  const tab = (text: string, show: () => void, isOn: boolean) => {
    const button = h("button", { "aria-pressed": String(isOn) }, text);
    button.addEventListener("click", () => { show(); for (const each of button.parentElement?.children ?? []) each.setAttribute("aria-pressed", String(each === button)); });
    return button;
  };
  const title = rows ? `${words.whole(rows.length)} ${rows.length === 1 ? "row" : "rows"}` : "Answer";
  fill(home, h("div", { class: "side-head" }, h("h2", null, title), h("div", { class: "row" }, h("div", { class: "switch" }, tab("Table", () => fill(box, shownTable), true), tab("JSON", () => { json.textContent ||= JSON.stringify(response, null, 2); fill(box, json); }, false)), copy)), box,
    h("p", { class: "muted" }, `${basis?.from ? `Based on ${words.clock(words.millis(basis.from), api.now())} to ${words.clock(words.millis(basis.until), api.now())}` : "Based on all of the past"}, ${words.whole(basis?.n_points ?? 0)} points. Answered in ${Math.round(took)}\u2009ms.`));
}

const MAX_ROWS = 500;
const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;

function tableOf(rows: Record<string, unknown>[]): HTMLElement {
  if (rows.length === 0) return h("p", { class: "muted pad" }, "Nothing found.");
  const keys = [...new Set(rows.slice(0, 50).flatMap((row) => Object.keys(row)))];
  const isNumber = (key: string) => rows.every((row) => row[key] === null || row[key] === undefined || typeof row[key] === "number");
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "answer" }, h("table", { class: "answer-table" }, h("thead", null, h("tr", null, ...keys.map((key) => h("th", { class: isNumber(key) ? "right" : "" }, key)))),
    h("tbody", null, ...rows.slice(0, MAX_ROWS).map((row) => h("tr", null, ...keys.map((key) => {
      const value = row[key];
      const state = key === "health" ? (value as State) : null;
      if (typeof value === "string" && TIME.test(value)) return h("td", { class: "num" }, h("time", { datetime: value, title: value }, words.clock(words.millis(value), api.now(), true)));
      return h("td", { class: isNumber(key) ? "right num" : "", dir: "auto", title: typeof value === "string" ? words.name(value) : "" }, state ? h("span", { class: `word ${state}` }, shape(state === "unknown" as State ? "silent" : state, 11), String(value)) : plain(value));
    }))))), rows.length > MAX_ROWS ? h("p", { class: "muted" }, `${words.whole(rows.length - MAX_ROWS)} more rows: see JSON.`) : null);
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? words.whole(value) : String(Number(value.toPrecision(6)));
  if (typeof value === "string") return words.short(words.localTimes(value, api.now()), 120);
  const why = typeof value === "object" && "why" in value ? (value as { why: unknown }).why : null;
  return typeof why === "string" ? words.reason(why, api.now()) : words.short(JSON.stringify(value), 160);
}
