/** Dead letters: read, replay, drop. Whatever they contain is shown as text. */

import * as api from "../api";
import { windowOf } from "../address";
import { app } from "../app";
import { h, fill } from "../dom";
import { modal } from "../modal";
import * as words from "../words";

interface Letter { sequence: number; time: string; reason: string; detail: string; subject: string | null; device: string | null; size_bytes: number; replays: number; part: string | null }
interface WholeLetter extends Letter { encoding: "text" | "base64"; payload: string; is_cut: boolean; headers: Record<string, string> }
interface Page { data: Letter[]; summary: { messages: number; size_bytes: number }; next: { limit: number; before: number } | null }
interface Outcome { sequence: number; outcome: "replayed" | "dropped" | "gone" | "refused"; reason?: string }

const PATH = "/api/v1/dead_letters";
/** Interval between looks, in ms: where no counter tells of changes, while it disagrees with the list, and otherwise. */
const [UNCOUNTED_MS, DISAGREES_MS, USUAL_MS] = [10_000, 4000, 30_000];
const LIMIT = 50;
/** Outcomes shown. */
const KEPT_OUTCOMES = 50;
/** Characters of a payload shown: a browser takes long to break more into lines. */
const SHOWN_CHARS = 64 << 10;

export class DeadLetters {
  readonly element = h("section", { class: "letters", "aria-label": "Dead letters" });
  private readonly chosen = new Set<number>();
  private readonly outcomes = h("ul", { class: "outcomes", role: "status" });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private letters: Letter[] = [];
  private summary = { messages: 0, size_bytes: 0 };
  private next: Page["next"] = null;
  private count: number | null = -1;
  private looked = 0;
  private hasFailed = false;
  private isLoading = false;
  private isAgain = false;
  private isActing = false;
  private isClosed = false;

  close(): void { this.isClosed = true; }

  /** Takes the number of messages from the counters; `null` if this process does not count them. */
  show(count: number | null): void {
    const interval = count === null || this.hasFailed ? UNCOUNTED_MS : count === this.summary.messages ? USUAL_MS : DISAGREES_MS;
    if (count === this.count && Date.now() - this.looked < interval) return;
    this.count = count;
    void this.load();
  }

  /** Gets the newest again, as many as are shown. */
  private async load(): Promise<void> {
    if (this.isLoading) { this.isAgain = true; return; }
    this.isLoading = true;
    this.looked = Date.now();
    try {
      do {
        this.isAgain = false;
        const limit = Math.min(200, Math.max(LIMIT, this.letters.length));
        this.take(await api.get<Page>(`${PATH}?limit=${limit}`), []);
      } while (this.isAgain && !this.isClosed);
      this.hasFailed = false;
    } catch (error) {
      this.hasFailed = true;
      this.problem.textContent = say(error);
    } finally { this.isLoading = false; }
    if (!this.isClosed) this.draw();
  }

  private take(page: Page, before: Letter[]): void {
    // A letter in parts is one letter: its first part stands for it.
    this.letters = [...before, ...page.data.filter((letter) => letter.part === null || letter.part.startsWith("1/"))];
    this.summary = page.summary;
    this.next = page.next;
    const there = new Set(this.letters.map((letter) => letter.sequence));
    for (const sequence of this.chosen) if (!there.has(sequence)) this.chosen.delete(sequence);
    this.problem.textContent = "";
  }

  private async more(): Promise<void> {
    if (!this.next || this.isLoading) return;
    try { this.take(await api.get<Page>(`${PATH}?limit=${LIMIT}&before=${this.next.before}`), this.letters); } catch (error) { this.problem.textContent = say(error); }
    this.draw();
  }

  private draw(): void {
    const { messages, size_bytes } = this.summary;
    const focused = (document.activeElement instanceof HTMLElement && this.element.contains(document.activeElement) && document.activeElement.dataset.key) || "";
    const head = h("div", { class: "side-head" }, h("h2", null, "Dead letters"), h("span", { class: "muted" }, messages === 0 ? "none" : `${words.whole(messages)}, ${bytes(size_bytes)}`));
    const isEmpty = this.letters.length === 0;
    fill(this.element, head,
      isEmpty ? (this.problem.textContent ? null : h("p", { class: "muted" }, "Everything that came was understood and stored.")) : [this.table(), this.actions()],
      this.problem, this.outcomes,
      h("p", { class: "muted audit" }, h("a", { href: auditLink(), "data-link": true, "data-key": "audit", class: "link" }, "Audit"), ": ask which numbers are missing or there twice in this range."));
    if (focused) this.element.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus();
  }

  private table(): HTMLElement {
    const all = box("choose all that are listed", "all", this.letters.every((letter) => this.chosen.has(letter.sequence)), (isChosen) => {
      for (const letter of this.letters) if (isChosen) this.chosen.add(letter.sequence); else this.chosen.delete(letter.sequence);
      this.draw();
    });
    const rows = this.letters.map((letter) => {
      const { sequence } = letter;
      const each = box(`letter ${sequence}`, `box-${sequence}`, this.chosen.has(sequence), (isChosen) => {
        if (isChosen) this.chosen.add(sequence); else this.chosen.delete(sequence);
        this.draw();
      });
      const read = button("Read", "link", `read-${sequence}`, () => void this.read(letter));
      read.setAttribute("aria-label", `Read letter ${sequence}`);
      const replayed = letter.replays === 0 ? "" : ` · replayed ${letter.replays === 1 ? "once" : `${words.count(letter.replays)} times`}`;
      return h("tr", null, h("td", null, h("label", null, each, h("span", { class: "num faint" }, String(sequence)))), h("td", { class: "num muted" }, h("time", { datetime: letter.time, title: letter.time }, words.clock(words.millis(letter.time), api.now(), true))),
        h("td", null, h("b", null, words.name(letter.reason)), h("span", { class: "muted about", title: words.name(letter.detail) }, letter.device ? [h("bdi", null, words.short(letter.device, 24)), " · "] : null, words.name(letter.detail), replayed)), h("td", null, read));
    });
    return h("div", { class: "letters-list" }, h("table", null,
      h("thead", null, h("tr", { class: "muted" }, h("th", { scope: "col" }, all), h("th", { scope: "col" }, "Came"), h("th", { scope: "col" }, "Reason"), h("td", null))), h("tbody", null, ...rows)),
    this.next ? button("Show more", "control", "more", () => void this.more()) : null);
  }

  private actions(): HTMLElement {
    const n = this.chosen.size;
    const [replay, drop] = [button(`Replay ${n}`, "control primary", "replay", () => void this.act("replay")), button(`Drop ${n}…`, "control danger", "drop", () => this.confirm())];
    for (const each of [replay, drop]) each.disabled = n === 0 || this.isActing;
    return h("div", { class: "row" }, replay, drop, h("span", { class: "faint" }, n === 0 ? "Choose letters to replay or to drop." : "A replay passes the same checks again."));
  }

  private async act(action: "replay" | "drop"): Promise<void> {
    const sequences = [...this.chosen];
    this.isActing = true;
    this.draw();
    try {
      await this.send(action, sequences);
    } catch (error) { this.problem.textContent = say(error); }
    this.isActing = false;
    if (!this.isClosed) this.draw();
  }

  /** Acts on letters and shows what came of each. */
  private async send(action: "replay" | "drop", sequences: number[]): Promise<void> {
    const body = { sequences, ...(action === "drop" ? { confirm: sequences.length } : {}) };
    const answer = await api.send<{ data: Outcome[] }>(`${PATH}/${action}`, body, api.LONG_MS);
    // Those that remain first: they need somebody.
    const sorted = [...answer.data].sort((a, b) => Number(b.outcome === "refused") - Number(a.outcome === "refused"));
    const rows = sorted.slice(0, KEPT_OUTCOMES).map(({ sequence, outcome, reason }) => h("li", { class: outcome === "refused" ? "problem" : "muted" }, h("b", null, `Letter ${sequence}`), ` ${SAID[outcome]}${reason ? `: ${words.name(reason)}` : ""}`));
    fill(this.outcomes, ...rows, answer.data.length > KEPT_OUTCOMES ? h("li", { class: "faint" }, `and ${words.whole(answer.data.length - KEPT_OUTCOMES)} more`) : null);
    for (const { sequence, outcome } of answer.data) if (outcome !== "refused") this.chosen.delete(sequence);
    await this.load();
  }

  private async read(letter: Letter): Promise<void> {
    const content = h("div", null, h("p", { class: "muted" }, "Loading"));
    const close = button("Close", "control", "close", () => dialog.close());
    const dialog = open(`Dead letter ${letter.sequence}`, content, h("div", { class: "row" }, close));
    dialog.classList.add("letter-box");
    close.focus();
    try {
      const { data } = await api.get<{ data: WholeLetter }>(`${PATH}/${letter.sequence}`);
      const facts: [string, string][] = [["Reason", data.reason], ["Detail", data.detail], ["Subject", data.subject ?? "unknown"], ["Came", data.time], ["Size", `${bytes(data.size_bytes)}${data.encoding === "base64" ? ", not UTF-8: as base64" : ""}`]];
      const others = Object.entries(data.headers).filter(([name]) => !["Spindle-Reason", "Spindle-Detail", "Spindle-Subject"].includes(name));
      const table = (rows: [string, string][]) => h("dl", { class: "facts" }, ...rows.map(([name, value]) => h("div", null, h("dt", { class: "muted" }, words.name(name)), h("dd", { dir: "auto" }, words.name(value)))));
      fill(content, table(facts),
        h("pre", { class: "code", tabindex: 0, "aria-label": "bytes of the letter" }, data.payload === "" ? "(no bytes)" : lines(data.payload.slice(0, SHOWN_CHARS))),
        data.is_cut || data.payload.length > SHOWN_CHARS ? h("p", { class: "faint" }, "Its beginning. All of it: ", h("code", null, `spindle dlq show --raw ${letter.sequence}`)) : null,
        table(others));
    } catch (error) { fill(content, h("p", { class: "problem", role: "alert" }, say(error))); }
  }

  /** Asks for the number of letters, since a drop is permanent. */
  private confirm(): void {
    const sequences = [...this.chosen];
    const n = sequences.length;
    const field = h("input", { class: "field", inputmode: "numeric", autocomplete: "off", required: true, "aria-label": "number of letters" });
    const problem = h("p", { class: "problem", role: "alert" });
    const drop = h("button", { class: "control primary" }, `Drop ${n}`);
    const cancel = button("Cancel", "control", "cancel", () => dialog.close());
    const form = h("form", null, h("p", { class: "muted" }, `${n === 1 ? "It is" : "They are"} removed for good, with ${n === 1 ? "its" : "their"} bytes.`), h("label", null, `Type ${n} to confirm`, field), problem, h("div", { class: "row" }, drop, cancel));
    const dialog = open(`Drop ${words.counted(n, "dead letter")}?`, form);
    field.focus();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim() !== String(n)) { problem.textContent = `That is not ${n}.`; return; }
      drop.disabled = true;
      this.send("drop", sequences).then(() => { dialog.close(); if (!this.isClosed) this.draw(); }).catch((error: unknown) => { problem.textContent = say(error); drop.disabled = false; });
    });
  }
}

/** The question what is missing in the range of the page. */
function auditLink(): string {
  const params = Object.entries(windowOf(app.place.range)).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return `/ask/audit_gaps?${params.join("&")}`;
}

const SAID: Record<Outcome["outcome"], string> = { replayed: "replayed", dropped: "dropped", gone: "was gone already", refused: "remains" };

function say(error: unknown): string {
  return words.name(error instanceof Error ? error.message : String(error));
}

function bytes(n: number): string {
  return n < 1e5 ? `${words.whole(n)}\u2009B` : `${words.number(n)}B`;
}

/** Text with its lines and tabs; other control characters as escapes. */
function lines(text: string): string {
  return text.split(/(\n|\t)/).map((part) => (part === "\n" || part === "\t" ? part : words.name(part))).join("");
}

function box(name: string, key: string, isChosen: boolean, changed: (isChosen: boolean) => void): HTMLInputElement {
  const input = h("input", { type: "checkbox", "aria-label": name, "data-key": key, checked: isChosen });
  input.addEventListener("change", () => changed(input.checked));
  return input;
}

function button(text: string, kind: string, key: string, act: () => void): HTMLButtonElement {
  const element = h("button", { class: kind, type: "button", "data-key": key }, text);
  element.addEventListener("click", act);
  return element;
}

function open(title: string, ...content: Node[]): HTMLDialogElement {
  return modal("", title, h("h2", null, title), ...content);
}
