// What the browser tests work with: the real program with a seeded simulation, a browser, and a way to publish.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
export const SHOTS = join(HERE, "../../shots");
const PROGRAM = process.env.SPINDLE_TEST_PROGRAM ?? join(HERE, "../../../target/debug/spindle");
const PATIENCE_MS = 60_000;

/** Waits until a function returns something; fails with what it waited for. */
export async function until(what, look, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A running `spindle up` in a folder of its own. */
export class Spindle {
  constructor() { this.folder = mkdtempSync(join(tmpdir(), "spindle-page-")); this.http = "127.0.0.1:0"; this.past = "0"; }

  async start(...args) {
    const log = join(this.folder, "log");
    const data = join(this.folder, "data");
    this.child = spawn("sh", ["-c", 'exec "$@" 2>>"$LOG"', "sh", PROGRAM, "up", "--data-dir", data, "--http", this.http, ...args], { env: { ...process.env, LOG: log, SPINDLE_NATS_PORT: "0", SPINDLE_SIMULATED_PAST: this.past }, stdio: "ignore" });
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.ended = ended;
    let hasEnded = false;
    void ended.then(() => { hasEnded = true; });
    const run = await until("run.json", () => {
      if (hasEnded) throw new Error(`spindle has ended: ${readFileSync(log, "utf8").slice(-2000)}`);
      const path = join(data, "run.json");
      if (!existsSync(path)) return null;
      try { const json = JSON.parse(readFileSync(path, "utf8")); return json.pid === this.child.pid ? json : null; } catch { return null; }
    });
    this.base = run.http.startsWith("http") ? run.http : `http://${run.http}`;
    this.http = this.base.replace("http://", "");
    this.nats = run.nats;
    await until("an answer", async () => (await fetch(`${this.base}/readyz`).catch(() => null))?.ok);
    return this;
  }

  async query(query_type, params = {}) {
    const response = await fetch(`${this.base}/api/v1/query`, { method: "POST", body: JSON.stringify({ query_type, params }) });
    return response.json();
  }

  /** Publishes a message, as any device may. */
  publish(subject, message) { return this.publishAll(subject, [message]); }

  /** Publishes messages over one connection. */
  publishAll(subject, messages) {
    const url = new URL(this.nats.replace(/^nats:/, "http:"));
    return new Promise((resolve, reject) => {
      const socket = connect(Number(url.port || 4222), url.hostname);
      let text = "";
      socket.on("data", (data) => {
        text += data;
        if (text.includes("-ERR")) reject(new Error(text));
        if (text.includes("PONG")) { socket.end(); resolve(); }
      });
      socket.on("error", reject);
      socket.write(`CONNECT ${JSON.stringify({ verbose: false, pedantic: false, ...(url.username ? { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } : {}) })}\r\n`);
      for (const message of messages) {
        const payload = JSON.stringify(message);
        socket.write(`PUB ${subject} ${Buffer.byteLength(payload)}\r\n${payload}\r\n`);
      }
      socket.write("PING\r\n");
    });
  }

  async kill() { this.child.kill("SIGKILL"); await this.ended; }

  async stop() {
    this.child.kill("SIGTERM");
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A page that fails the test for anything its console complains of. */
export class Browser {
  static async open() {
    const own = new Browser();
    await own.launch();
    return own;
  }

  async page(base, options = {}) {
    const { allowed = /$^/, ...rest } = options;
    const context = await this.browser.newContext({ viewport: { width: 1440, height: 900 }, ...rest });
    const page = await context.newPage();
    page.setDefaultTimeout(45_000);
    page.complaints = [];
    page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && !allowed.test(message.text())) page.complaints.push(message.text()); });
    page.on("pageerror", (error) => page.complaints.push(String(error.stack)));
    page.on("request", (request) => { const { hostname, protocol } = new URL(request.url()); if (protocol.startsWith("http") && hostname !== "127.0.0.1") page.complaints.push(`request to ${request.url()}`); });
    page.see = async (path) => { await page.goto(base + path); return page; };
    page.shot = (name) => page.screenshot({ path: join(SHOTS, `${name}.png`) });
    page.done = async () => { await context.close(); if (page.complaints.length > 0) throw new Error(`the console says: ${page.complaints.join("\n")}`); };
    return page;
  }

  async launch() {
    this.browser = await chromium.launch({ executablePath: process.env.SPINDLE_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
    mkdirSync(SHOTS, { recursive: true });
  }

  async close() { await this.browser?.close(); }
}

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Fails for anything serious that keeps somebody out of the page. */
export async function accessible(page, name) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  const serious = violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) => `${each.id}: ${each.nodes.map((node) => node.html).slice(0, 3).join(" | ")}`);
  if (serious.length > 0) throw new Error(`${name}: ${serious.join("\n")}`);
}

/** A system and a browser for the tests of a file. `past` is that of the simulated fleet; `prepare` runs once both are
 * there: hooks of one file do not wait for one another. */
export function system(args, { past = "0", prepare = () => undefined } = {}) {
  const [spindle, browser] = [new Spindle(), new Browser()];
  spindle.past = past;
  before(async () => { await spindle.start(...args); await browser.launch(); await prepare(); });
  after(async () => { await browser.close(); await spindle.stop(); });
  return { spindle, browser };
}

/** An answer to `fleet` in which nothing is wrong. */
export function wellFleet(n) {
  const fleet = bigFleet(n);
  fleet.data.state = fleet.data.state.map(() => 0);
  fleet.data.not_ok = { index: [], score: [], since: [], reason: [], advice: [], acknowledged: [] };
  return fleet;
}

const STATES = ["ok", "asleep", "unknown", "silent", "warning", "critical"];

/** An answer to `fleet` with n devices, 24 to an enclosure; every 97th is critical, and so on. */
export function bigFleet(n, name = (index) => `DiskUnit-${String(index + 1).padStart(5, "0")}`) {
  const all = Array.from({ length: n }, (_, index) => index);
  const state = all.map((index) => (index % 197 === 5 ? 5 : index % 47 === 3 ? 4 : index % 131 === 7 ? 3 : index % 181 === 9 ? 1 : 0));
  const ill = all.filter((index) => state[index] !== 0);
  const enclosures = Array.from({ length: Math.ceil(n / 24) }, (_, index) => `enclosure-${String(index + 1).padStart(3, "0")}`);
  const since = new Date(Date.now() - 3_600_000).toISOString();
  return {
    status: "success", basis: { from: null, until: new Date().toISOString(), n_points: n },
    data: {
      device: all.map(name), states: STATES, state, heard_seconds: all.map((index) => index % 10),
      labels: { enclosure: { names: enclosures, index: all.map((index) => Math.floor(index / 24)) }, bay: { names: Array.from({ length: 24 }, (_, index) => String(index + 1)), index: all.map((index) => index % 24) }, class: { names: ["DiskUnit"], index: all.map(() => 0) } },
      metrics: { DiskTemp: { unit: "°C", values: all.map((index) => 30 + (index % 20)) }, Latency: { unit: "ms", values: all.map((index) => 5 + (index % 7)) } },
      not_ok: { index: ill, score: ill.map((index) => (state[index] === 5 ? 12 : state[index] === 4 ? 60 : null)), since: ill.map(() => since), reason: ill.map(() => "48 unreadable sectors, none a day ago"), advice: ill.map(() => "Replace the drive."), acknowledged: ill.map(() => false) },
    },
  };
}

/** Answers questions of one type with what is given, the others as the server does. */
export async function answer(page, type, given) {
  await page.route("**/api/v1/query", async (route) => {
    const body = JSON.parse(route.request().postData() ?? "{}");
    if (body.query_type !== type && type !== "*") return route.fallback();
    const { status = 200, ...json } = typeof given === "function" ? given(body) : { json: given };
    return route.fulfill({ status, contentType: "application/json", body: JSON.stringify(json.json) });
  });
}
