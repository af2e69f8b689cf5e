// The device view: why, lanes and their gestures, many metrics, odd names.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, answer, system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "60", "--seed", "7"], { past: "24h", prepare });
const LONG = "rack-07.row-3.datacentre-frankfurt.storage-array-0012.disk-7";
const RTL = "قرص التخزين رقم ٤١ في الرف الثاني";
const MANY = "many";
let failing;
let silent;

const address = (device, search = "") => `/device/${encodeURIComponent(device)}${search}`;
const value = (sourceDevice, metricType, timestamp, number, labels) => ({ timestamp: new Date(timestamp).toISOString(), sourceDevice, metricType, value: number, labels });

/** Ten minutes of 40 metrics, with two minutes without values. */
function many(now) {
  const types = Array.from({ length: 38 }, (_, index) => `Sensor${String(index + 1).padStart(2, "0")}`);
  const minutes = Array.from({ length: 60 }, (_, index) => index / 6).filter((minute) => minute < 4 || minute > 6);
  return [...types, "ReadErrors", "DiskTemp"].flatMap((type, at) => minutes.map((minute) => value(MANY, type, now - minute * 60_000, type === "DiskTemp" ? 30 + Math.sin(minute) : type === "ReadErrors" ? Math.floor(10 - minute) : at + Math.sin(minute + at))));
}

async function prepare() {
  assert.equal(LONG.length, 60);
  const now = Date.now();
  await spindle.publishAll("events.metrics", many(now));
  for (const name of [LONG, RTL]) {
    await spindle.publishAll("events.metrics", Array.from({ length: 40 }, (_, index) => value(name, "DiskTemp", now - index * 10_000, 35 + Math.sin(index / 5), { enclosure: name, bay: "17", model: RTL, serial: name })));
    await spindle.publish("events.event", { id: `odd-${name}`, criticality: 8, timestamp: new Date(now).toISOString(), sourceDevice: name, eventType: "SlowReads", eventMessage: `${RTL} \u202e ${LONG} <b>text</b>` });
  }
  const of = async (state) => { const { data } = await spindle.query("fleet"); const at = data.state.findIndex((each) => data.states[each] === state); return data.device[at]; };
  failing = await until("a failing device", () => of("critical"));
  silent = await until("a silent device", () => of("silent"));
  await until("the metrics of all", async () => Object.keys((await spindle.query("devices", { source_device: MANY })).data?.[0]?.metrics ?? {}).length === 40);
}

const fits = async (page) => { const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]); assert.ok(wide <= inner, `${wide} px wide`); };
const open = async (path, options) => {
  const page = await browser.page(spindle.base, options);
  await page.see(path);
  await page.locator(".lane canvas").first().waitFor();
  return page;
};

test("each finding from a value says since when, and what is as expected is named", async () => {
  const page = await browser.page(spindle.base);
  await answer(page, "health_history", ({ params }) => ({ json: { status: "success", data: Date.parse(params.until) - Date.parse(params.from) === 1000 ? [{ from: params.from, until: params.until, health: "ok", score: 98, why: null }] : [], next: null, basis: {} } }));
  await page.see(address(failing));
  await page.locator(".lane canvas").first().waitFor();
  const { data } = await spindle.query("device_health", { source_device: failing });
  const limited = data.reasons.filter((reason) => reason.limit !== null);
  assert.ok(limited.length > 0 && limited.every((reason) => Date.parse(reason.since) < Date.now()), JSON.stringify(limited));
  const rows = await page.locator(".why tbody tr").evaluateAll((all) => all.map((row) => [row.querySelector(".now").textContent, row.querySelector(".since").textContent]));
  for (const [now, since] of rows) if (now !== "") assert.match(since, /\d\d:\d\d, \d/, now);
  assert.match(await page.locator(".verdict p").innerText(), /Critical since .*Score \d+ of 100, 98 a day ago\. .*serial/);
  await page.locator(".as-expected", { hasText: /^As expected: / }).waitFor();
  assert.match(await page.locator(".crumbs").innerText(), /1 of \d+ that need attention/);
  await accessible(page, page.url());
  await page.shot("device-failing");
  await page.done();
});

test("a silent device has dashes, and its health before says nothing about now", async () => {
  const page = await open(address(silent));
  assert.match(await page.locator("h1").innerText(), /^Silent: nothing heard for/);
  assert.match(await page.locator(".verdict p").innerText(), /Last value .*\d\d:\d\d:\d\d\. Its health before says nothing about now/);
  assert.equal(await page.locator(".why").count(), 0);
  assert.equal(await page.locator(".lane-value b").first().innerText(), "–");
  assert.match(await page.locator(".lane-range").first().innerText(), /^last \d\d:\d\d:\d\d$/);
  await page.shot("device-silent");
  await page.done();
});

test("of 40 metrics only those near the screen are asked for; a lane grows, and is a table", async () => {
  const page = await browser.page(spindle.base);
  const asked = new Set();
  page.on("request", (request) => { const body = JSON.parse(request.postData() ?? "{}"); if (body.query_type === "series") asked.add(body.params.metric_type); });
  await page.see(address(MANY, "?t=15m"));
  await page.locator(".lane canvas").first().waitFor();
  await page.waitForTimeout(1500);
  assert.equal(await page.locator(".lane-place").count(), 40);
  assert.ok(asked.size < 30, `${asked.size} asked for at once`);
  const before = asked.size;
  await page.shot("device-40-metrics");
  const last = page.locator(".lane-place").last();
  await last.scrollIntoViewIfNeeded();
  await last.locator("canvas").waitFor();
  await until("all lanes near the end", async () => asked.size > before);
  await fits(page);

  const label = last.locator(".lane-label");
  const height = () => last.locator(".lane-plot").evaluate((plot) => plot.clientHeight);
  await label.click();
  await until("a tall lane", async () => (await height()) === 220);
  await last.locator(".lane-more").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "As table");
  await page.keyboard.press("Enter");
  const rows = last.locator(".lane-table tbody tr");
  assert.ok((await rows.count()) > 20);
  assert.match(await rows.first().innerText(), /\d\d:\d\d:\d\d/);
  await accessible(page, page.url());
  await last.locator(".lane-table").scrollIntoViewIfNeeded();
  await page.shot("device-table");
  // The next answer changes neither, nor where the page stands.
  const stands = await page.evaluate(() => scrollY);
  await page.waitForRequest((request) => (request.postData() ?? "").includes("device_health"));
  await page.waitForTimeout(1500);
  assert.deepEqual([await height(), await rows.count() > 20, await page.evaluate(() => scrollY)], [220, true, stands]);
  await label.focus();
  await page.keyboard.press("Enter");
  await until("a small lane", async () => (await height()) === 72);
  await page.done();
});

/** The range in the address, in ms. */
const range = (page) => { const { searchParams } = new URL(page.url()); return [Date.parse(searchParams.get("from")), Date.parse(searchParams.get("to"))]; };

test("a drag zooms all, shift pans, Ctrl and the wheel zoom, a double click leads back", async () => {
  const page = await open(address(failing, "?t=6h"));
  const over = page.locator(".lane .u-over").first();
  await over.scrollIntoViewIfNeeded();
  const drag = async (from, to) => {
    const box = await over.boundingBox();
    await page.mouse.move(box.x + box.width * from, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * to, box.y + 22, { steps: 6 });
    await page.mouse.up();
  };
  const stood = await page.evaluate(() => scrollY);
  await over.hover();
  await page.mouse.wheel(0, 40);
  await until("the page to scroll", async () => (await page.evaluate(() => scrollY)) !== stood);
  await page.waitForTimeout(400);
  assert.ok(page.url().endsWith("t=6h"));
  await drag(0.25, 0.75);
  await page.waitForURL(/from=/);
  const [from, to] = range(page);
  assert.ok(Math.abs((to - from) / 3_600_000 - 3) < 0.1, `${(to - from) / 3_600_000} h`);
  await page.waitForTimeout(500);
  await page.keyboard.down("Shift");
  await drag(0.3, 0.8);
  await page.keyboard.up("Shift");
  await until("the panned range", async () => range(page)[0] < from - 3_600_000);
  const panned = range(page);
  assert.ok(Math.abs(panned[1] - panned[0] - (to - from)) < 1000, "as long as before");
  await page.waitForTimeout(500);
  await page.keyboard.down("Control");
  await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  await until("a shorter range", async () => range(page)[1] - range(page)[0] < to - from - 60_000);
  await page.waitForTimeout(500);
  await over.dblclick();
  await page.waitForURL(/t=6h/);
  await page.done();
});

test("a long press moves the cursor, two fingers zoom", async () => {
  const page = await open(address(failing, "?t=6h"), { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  const over = page.locator(".lane .u-over").first();
  // In the middle: below is the bar of views.
  await page.waitForTimeout(800);
  await over.evaluate((element) => element.scrollIntoView({ block: "center" }));
  const box = await over.boundingBox();
  const session = await page.context().newCDPSession(page);
  const touch = (type, ...shares) => session.send("Input.dispatchTouchEvent", { type, touchPoints: shares.map((share, id) => ({ x: box.x + box.width * share, y: box.y + 25, id })) });
  await touch("touchStart", 0.5);
  await page.waitForTimeout(600);
  await page.locator(".time-pill").waitFor({ state: "visible" });
  await page.shot("phone-cursor");
  await touch("touchEnd");
  await touch("touchStart", 0.4, 0.6);
  for (const out of [0.05, 0.1, 0.2]) await touch("touchMove", 0.4 - out, 0.6 + out);
  await touch("touchEnd");
  await page.waitForURL(/from=/);
  const [from, to] = range(page);
  assert.ok(to - from < 3 * 3_600_000, `${(to - from) / 3_600_000} h`);
  await fits(page);
  await page.done();
});

for (const [width, colorScheme] of [[1440, "light"], [390, "dark"], [320, "light"]]) {
  test(`names of 60 characters and from right to left at ${width} px`, async () => {
    for (const name of [LONG, RTL]) {
      const page = await open(address(name, "?t=15m"), { viewport: { width, height: 900 }, colorScheme });
      await page.waitForTimeout(500);
      assert.equal(await page.locator("main b", { hasText: /^text$/ }).count(), 0);
      assert.match(await page.locator(".side-events").innerText(), /\\u202e/);
      await fits(page);
      await accessible(page, page.url());
      await page.shot(`device-${name === LONG ? "long" : "rtl"}-${width}`);
      await page.done();
    }
  });
}

test("Escape closes an overlay at once: the next key acts on the page", async () => {
  const page = await open(address(failing));
  for (const key of ["?", "/"]) {
    await page.keyboard.press(key);
    await page.locator("dialog").waitFor();
    await Promise.all([page.keyboard.press("Escape"), page.keyboard.press(key === "?" ? "2" : "3")]);
    await page.waitForURL(key === "?" ? /t=1h/ : /t=6h/, { timeout: 5000 });
    assert.equal(await page.locator("dialog").count(), 0);
  }
  await page.done();
});

test("a device is found by its serial number, a range by words, and single keys can be turned off", async () => {
  const page = await open(address(failing));
  const { data } = await spindle.query("devices", { source_device: failing });
  await page.keyboard.press("/");
  await page.locator(".find-field").fill(data[0].labels.serial.toLowerCase());
  await page.locator(".find-box [aria-selected=true]", { hasText: failing }).waitFor();
  await page.shot("find-serial");
  await page.keyboard.press("Enter");
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.locator(".range").click();
  await page.locator("dialog input").first().fill("3 h ago");
  await page.locator("dialog input").last().fill("now");
  await page.keyboard.press("Enter");
  await page.waitForURL(/t=180min/);
  await page.locator(".range").click();
  await page.locator("dialog input").first().fill("when it broke");
  await page.keyboard.press("Enter");
  await page.locator("dialog .problem", { hasText: "“when it broke” is no time" }).waitFor();
  await page.shot("time-problem");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.locator(".switch-keys input").uncheck();
  await page.shot("help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("1");
  await page.waitForTimeout(300);
  assert.match(page.url(), /t=180min/);
  await page.done();
});

test("a question with a wrong value says so at its field, and the old answer is dimmed", async () => {
  const page = await browser.page(spindle.base, { allowed: /Failed to load resource/ });
  await page.see("/ask/fleet_health");
  await page.locator(".ask-answer tbody tr").first().waitFor();
  await page.locator("input[name=limit]").fill("0");
  await page.keyboard.press("Enter");
  await page.locator("[data-param=limit] .problem", { hasText: "parameter 'limit' of fleet_health is 0: expected a whole number from 1 to 1000" }).waitFor();
  assert.equal(await page.locator(".problem").count(), 1);
  assert.ok(await page.locator(".ask-answer.dimmed tbody tr").count() > 0);
  assert.equal(await page.evaluate(() => document.activeElement.name), "limit");
  await page.shot("ask-problem");
  await page.locator("input[name=limit]").fill("5");
  await page.keyboard.press("Enter");
  await page.locator(".ask-answer:not(.dimmed) tbody tr").first().waitFor();
  assert.match(await page.locator(".elsewhere .code").innerText(), /^spindle query fleet_health limit=5$/);
  await page.see("/pipeline?t=1h");
  await page.locator("a", { hasText: "Audit" }).click();
  await page.waitForURL("**/ask/audit_gaps?since_minutes=60");
  await page.locator(".ask-answer tbody tr", { hasText: "complete" }).first().waitFor();
  await page.shot("ask-audit");
  await page.done();
});
