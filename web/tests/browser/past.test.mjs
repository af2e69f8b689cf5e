// The first picture of a new system: empty folder, simulated fleet with its past.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Browser, Spindle, until } from "./rig.mjs";

const DAY_MS = 86_400_000;
const LONGEST_MS = 10_000;
const spindle = new Spindle();
spindle.past = "24h";
let browser;
let started;

before(async () => {
  browser = await Browser.open();
  started = Date.now();
  await spindle.start("--source", "simulate", "--seed", "7");
});
after(async () => { await browser?.close(); await spindle.stop(); });

/** Faults of a kind that are under way, as the truth file has them. */
function truth(kind) {
  const lines = readFileSync(join(spindle.folder, "data", "truth.ndjson"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const now = new Date().toISOString();
  return lines.filter((each) => each.kind === kind && (each.onset ?? each.from) < now && now < (each.fails_at ?? each.until));
}

test("within 10 s of the first start the failing drive is named and its day is drawn", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/");
  await page.locator("h1", { hasText: /failing/ }).waitFor();
  await until("all curves", () => page.evaluate(() => document.querySelectorAll(".tile .spark path").length >= 9));
  const tookMs = Date.now() - started;
  console.log(`first full picture ${tookMs} ms after the start, browser included`);
  assert.ok(tookMs < LONGEST_MS, `${tookMs} ms`);
  const sentence = await page.locator("h1").innerText();
  const fleet = (await spindle.query("fleet")).data;
  const [device] = truth("wear_out").map((each) => each.device);
  const index = fleet.device.indexOf(device);
  const label = (key) => fleet.labels[key].names[fleet.labels[key].index[index]];
  assert.ok(sentence.includes(label("enclosure")) && sentence.includes(`bay ${label("bay")}`), `${sentence}: ${device}`);
  await until("the silent device", async () => { const { data } = await spindle.query("fleet"); return data.states[data.state[data.device.indexOf(truth("silence")[0].device)]] === "silent"; });
  const { data } = await spindle.query("series", { source_device: device, metric_type: "Latency", since_minutes: 1440, bucket_seconds: 300 });
  assert.ok(data.length >= 286 && Date.parse(data.at(-1).time) - Date.parse(data[0].time) > 0.98 * DAY_MS, `${data.length} buckets`);
  await page.waitForTimeout(1500);
  await page.shot("first-picture");
  await page.goto(`${spindle.base}/device/${encodeURIComponent(device)}?t=24h`);
  await page.locator("h1", { hasText: /Failing|failing/ }).waitFor();
  await page.waitForTimeout(2500);
  await page.shot("first-picture-device");
  await page.done();
});

test("a line says how to leave the simulated devices out, until it is dismissed", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/");
  const line = page.locator(".demo-note");
  await line.waitFor();
  assert.match(await line.innerText(), /simulated: the demo fleet.*spindle up --source host --source smart/);
  await line.locator("button").click();
  assert.equal(await line.isVisible(), false);
  await page.reload();
  await page.locator("h1", { hasText: /failing/ }).waitFor();
  assert.equal(await line.isVisible(), false);
  await page.done();
});
