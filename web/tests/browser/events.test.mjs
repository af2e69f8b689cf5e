// The events view: histogram, folding, days, new events, what happened around one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"], { prepare });
let sent = 0;

const event = (timestamp, given = {}) => ({ id: `events-${(sent += 1)}`, criticality: 5, timestamp: new Date(timestamp).toISOString(), sourceDevice: "disk-1", eventType: "SlowReads", eventMessage: `message ${sent}`, ...given });
const publish = (...events) => spindle.publishAll("events.event", events);

async function prepare() {
  const now = Date.now();
  // One a minute and device, so that none folds.
  await publish(...Array.from({ length: 120 }, (_, index) => event(now - (index + 1) * 25_000, { sourceDevice: `disk-${index % 7}`, eventType: `Kind${index % 5}` })));
  await publish(...Array.from({ length: 14 }, (_, index) => event(now - 5000 - index * 1000, { eventType: "Repeated", sourceDevice: "loud" })), event(now - 8500, { eventType: "Between", sourceDevice: "other" }));
  await until("the events", async () => (await spindle.query("events", { since_minutes: 60, limit: 500 })).data.length >= 135);
}

const open = async (path, options) => {
  const page = await browser.page(spindle.base, options);
  await page.see(path);
  await page.locator(".event-row").first().waitFor();
  return page;
};

test("equal events of one device within a minute are one line, whoever speaks between", async () => {
  const page = await open("/events?t=1h");
  const row = page.locator(".event-row", { hasText: "Repeated" });
  assert.equal(await row.count(), 1);
  assert.match(await row.innerText(), /× 14/);
  await row.click();
  await page.locator(".event-pane dd", { hasText: "14 from this device" }).waitFor();
  await page.locator(".event-pane li", { hasText: "Between" }).waitFor();
  assert.match(await page.locator(".event-pane li.own").innerText(), /this event/);
  // New events do not make the pane ask again.
  let asked = 0;
  page.on("request", (request) => { if ((request.postData() ?? "").includes('"until"')) asked += 1; });
  await page.mouse.move(5, 5);
  await publish(event(Date.now(), { eventType: "Later" }));
  await page.locator(".event-row", { hasText: "Later" }).waitFor();
  assert.equal(asked, 0);
  assert.ok(await page.locator(".event-pane li.own").isVisible());
  await page.shot("events-folded");
  await page.done();
});

test("new events wait while the page is scrolled away, and nothing moves under the pointer", async () => {
  const page = await open("/events?t=1h");
  await page.evaluate(() => scrollTo(0, 900));
  await page.waitForTimeout(300);
  const shown = () => page.evaluate(() => [...document.querySelectorAll(".event-row")].find((row) => row.getBoundingClientRect().top > 200).dataset.id);
  const before = await shown();
  await publish(...Array.from({ length: 12 }, (_, index) => event(Date.now(), { eventType: `New${index}` })));
  const pill = page.locator(".pill");
  await until("12 new", async () => (await pill.isVisible()) && (await pill.innerText()) === "12 new");
  assert.equal(await shown(), before);
  const box = await pill.boundingBox();
  assert.ok(box.y > 52 && box.y < 300, `the pill is at ${box.y} px`);
  await page.shot("events-pill");
  await pill.click();
  await page.locator(".event-row", { hasText: "New11" }).first().waitFor();
  assert.ok(!(await pill.isVisible()));
  assert.ok((await page.evaluate(() => scrollY)) < 40);

  const row = page.locator(".event-row").nth(3);
  const id = await row.getAttribute("data-id");
  await row.hover();
  await publish(event(Date.now(), { eventType: "UnderPointer" }));
  await until("a pill", async () => (await pill.isVisible()) && (await pill.innerText()) === "1 new");
  assert.equal(await page.evaluate(() => document.querySelectorAll(".event-row")[3].dataset.id), id);
  await page.done();
});

test("few events are blocks, many are bars; a drag is a range", async () => {
  const page = await browser.page(spindle.base);
  const row = (at, index) => ({ time: new Date(at).toISOString(), received: new Date(at).toISOString(), event_id: `e${index}`, source_device: `d${index}`, event_type: "T", criticality: 9, event_message: "m" });
  let n = 8;
  const now = Date.now();
  await answer(page, "events", () => ({ json: { status: "success", data: Array.from({ length: n }, (_, index) => row(now - 1_800_000 - index, index)), next: null, basis: { n_points: n } } }));
  const heights = () => page.locator(".histogram rect.seg").evaluateAll((all) => all.map((rect) => rect.getAttribute("height")));
  await page.see("/events?t=1h");
  await page.locator(".event-row").first().waitFor();
  assert.deepEqual(await heights(), Array(8).fill("5"));
  n = 9;
  await page.reload();
  await page.locator(".event-row").first().waitFor();
  assert.deepEqual(await heights(), ["46"]);
  const box = await page.locator(".histogram svg").boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 20);
  assert.ok(Number(await page.locator(".chosen-range").getAttribute("width")) > 100);
  await page.mouse.move(box.x + box.width * 0.75, box.y + 20);
  await page.mouse.up();
  await page.waitForURL(/from=/);
  const { searchParams } = new URL(page.url());
  const minutes = (Date.parse(searchParams.get("to")) - Date.parse(searchParams.get("from"))) / 60_000;
  assert.ok(Math.abs(minutes - 30) < 1, `${minutes} min`);
  await page.done();
});

test("the day stays at the top while its events scroll", async () => {
  const page = await browser.page(spindle.base);
  const now = Date.now();
  const rows = Array.from({ length: 200 }, (_, index) => { const time = new Date(now - index * 1_800_000).toISOString(); return { time, received: time, event_id: `d${index}`, source_device: `disk-${index}`, event_type: "T", criticality: 2, event_message: "m" }; });
  await answer(page, "events", { status: "success", data: rows, next: null, basis: { n_points: 200 } });
  await page.see("/events?t=7d");
  await page.locator(".event-row").first().waitFor();
  assert.equal(await page.locator(".event-stuck .event-day").count(), 0);
  await page.evaluate(() => scrollTo(0, 3200));
  await page.waitForTimeout(300);
  const stuck = page.locator(".event-stuck .event-day");
  const { y } = await stuck.boundingBox();
  assert.ok(Math.abs(y - 84) < 2, `${y} px`);
  const first = await page.evaluate(() => [...document.querySelectorAll(".event-row")].find((row) => row.getBoundingClientRect().top > 118).querySelector("time").dateTime);
  const date = new Date(first);
  assert.ok((await stuck.innerText()).startsWith(`${date.getDate()} `), `${await stuck.innerText()}: ${first}`);
  await page.shot("events-day");
  await page.done();
});

for (const width of [900, 390]) {
  test(`the chosen event is on the screen at ${width} px, and goes`, async () => {
    const page = await open("/events?t=1h", { viewport: { width, height: 844 } });
    assert.ok(!(await page.locator(".event-pane").isVisible()));
    await page.locator(".event-row").nth(2).click();
    const pane = page.locator(".event-pane");
    await pane.waitFor({ state: "visible" });
    const box = await pane.boundingBox();
    assert.ok(box.y > 100 && box.y + box.height <= 844, JSON.stringify(box));
    await page.shot(`events-pane-${width}`);
    await pane.locator(".pane-close").click();
    await pane.waitFor({ state: "hidden" });
    const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= inner, `${wide} px wide`);
    await page.done();
  });
}
