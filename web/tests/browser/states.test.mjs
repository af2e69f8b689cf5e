// States that a healthy system does not show, and fleets that it does not have: the answers are played.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, answer, bigFleet, system, wellFleet } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"]);
const open = async (path, type, given, options = {}) => {
  const page = await browser.page(spindle.base, { allowed: /Failed to load resource/, ...options });
  await answer(page, type, given);
  return page.see(path);
};
const failure = (status, message) => () => ({ status, json: { status: "error", message } });

test("the store is away", async () => {
  const page = await open("/", "*", failure(503, "cannot read from the store: connection refused"));
  await page.locator("h1", { hasText: "The store does not answer" }).waitFor();
  assert.match(await page.locator("pre").innerText(), /connection refused/);
  await page.shot("store-away");
  await accessible(page, "store-away");
  await page.done();
});

test("a store that goes away is said, though the stream goes on", async () => {
  let isAway = false;
  const page = await browser.page(spindle.base, { allowed: /Failed to load resource/ });
  await page.route("**/api/v1/query", (route) => (isAway ? route.fulfill({ status: 503, contentType: "application/json", body: JSON.stringify({ status: "error", message: "cannot read from the store: gone" }) }) : route.fallback()));
  await page.see("/");
  await page.locator(".live", { hasText: "Live" }).waitFor();
  isAway = true;
  await page.locator(".banner", { hasText: "The store does not answer" }).waitFor({ timeout: 30_000 });
  assert.match(await page.locator(".banner").innerText(), /gone/);
  assert.match(await page.locator(".live").innerText(), /old/);
  await accessible(page, "an old picture");
  isAway = false;
  await page.locator(".live", { hasText: "Live" }).waitFor();
  await page.done();
});

test("a store that takes longer than the updates still shows a device", async () => {
  const { data: [{ source_device: device }] } = await spindle.query("devices");
  const page = await browser.page(spindle.base);
  await page.route("**/api/v1/query", async (route) => {
    const { query_type: type } = JSON.parse(route.request().postData() ?? "{}");
    if (!["fleet", "incidents"].includes(type)) await new Promise((resolve) => setTimeout(resolve, 4000));
    await route.fallback();
  });
  await page.see(`/device/${encodeURIComponent(device)}?t=15m`);
  await page.locator(".device h1").waitFor();
  await page.locator(".lane").first().waitFor();
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.done();
});

test("more events than the stream carries are asked for", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/events?t=1h");
  await page.locator("h1").waitFor();
  const time = Date.now();
  const events = Array.from({ length: 1200 }, (_, index) => ({ id: `storm-${index}`, criticality: 5, timestamp: new Date(time - index).toISOString(), sourceDevice: `storm-${index % 40}`, eventType: "StormEvent", eventMessage: `number ${index}` }));
  await spindle.publish("events.event", events);
  await page.locator("h1", { hasText: "More than 500 events" }).waitFor();
  await page.done();
});

test("a token is asked for", async () => {
  const page = await open("/", "*", failure(401, "a token is required"));
  await page.locator("h1", { hasText: "A token is needed" }).waitFor();
  await page.shot("token");
  await accessible(page, "token");
  await page.done();
});

test("no devices", async () => {
  const page = await open("/", "fleet", bigFleet(0));
  await page.locator("h1", { hasText: /No devices yet|Waiting for the first value/ }).waitFor();
  await page.shot("empty");
  await accessible(page, "empty");
  await page.done();
});

test("a device that is not known", async () => {
  const page = await browser.page(spindle.base, { allowed: /Failed to load resource/ });
  await page.see("/device/nobody?t=1h");
  await page.locator("h1", { hasText: "nobody is not known" }).waitFor();
  await page.shot("unknown-device");
  await accessible(page, "unknown-device");
  await page.done();
});

test("all is well", async () => {
  const well = wellFleet(114);
  const page = await open("/", "fleet", well);
  await page.locator("h1", { hasText: "All 114 drives are well" }).waitFor();
  assert.equal(await page.title(), "Spindle");
  await page.done();
});

for (const n of [12, 114, 600, 10_008]) {
  test(`${n} devices`, async () => {
    const page = await open("/", "fleet", bigFleet(n));
    await page.locator("h1").waitFor();
    await page.waitForTimeout(800);
    assert.match(await page.title(), n === 12 ? /failing/ : /\d+ failing – Spindle/);
    const [pieces, height] = await page.evaluate(() => [document.querySelectorAll(".map canvas").length, document.querySelector(".map-surface").clientHeight]);
    assert.equal(n <= 24 ? pieces === 0 : pieces === Math.ceil(height / 640), true, `${pieces} pieces for ${height} px`);
    await page.shot(`fleet-of-${n}`);
    await page.mouse.move(700, 520);
    await page.waitForTimeout(300);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.waitForTimeout(300);
    await page.shot(`fleet-of-${n}-end`);
    await accessible(page, `fleet-of-${n}-end`);
    await page.goto(`${spindle.base}/?view=table`);
    await page.locator(".fleet-table tbody tr").first().waitFor();
    const rows = await page.locator(".fleet-table tbody tr").count();
    assert.ok(rows <= 80, `${rows} rows exist at once`);
    await page.done();
  });
}

test("names of any kind are text", async () => {
  const names = ["<img src=x onerror=alert(1)>", "x".repeat(60), "قرص التخزين رقم ٤١", "a\u202eb\u0007c", "vm:/mnt/data & more", "'; DROP TABLE devices; --"];
  const fleet = bigFleet(6, (index) => names[index]);
  fleet.data.labels.bay = { names: [], index: [-1, -1, -1, -1, -1, -1] };
  fleet.data.state = [5, 4, 4, 3, 0, 0];
  fleet.data.not_ok = { index: [0, 1, 2, 3], score: [1, 50, 50, null], since: [null, null, null, null], reason: names.slice(0, 4), advice: [null, null, null, null], acknowledged: [false, false, true, false] };
  for (const viewport of [{ width: 1440, height: 900 }, { width: 320, height: 700 }]) {
    const page = await open("/", "fleet", fleet, { viewport });
    await page.locator("h1", { hasText: "failing" }).waitFor();
    await page.waitForTimeout(500);
    assert.equal(await page.locator("main img").count(), 0);
    const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide[0] <= wide[1], `${wide[0]} px wide`);
    await page.shot(`names-${viewport.width}`);
    await accessible(page, `names-${viewport.width}`);
    await page.done();
  }
});
