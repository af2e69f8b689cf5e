// Every view of a simulated fleet: drawn, without a complaint, readable by all.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "60", "--seed", "7", "--interval", "500ms"], { prepare });
const VIEWS = [["fleet", "/"], ["fleet-table", "/?view=table"], ["fleet-colour", "/?colour=DiskTemp"], ["events", "/events?t=1h"], ["pipeline", "/pipeline"], ["ask", "/ask/fleet_health"]];
let device;

async function prepare() {
  device = await until("a device", async () => (await spindle.query("devices")).data?.[0]?.source_device);
  VIEWS.push(["device", `/device/${encodeURIComponent(device)}?t=15m`]);
  const time = new Date().toISOString();
  await spindle.publish("events.event", { id: "page-1", criticality: 9, timestamp: time, sourceDevice: device, eventType: "SlowReads", eventMessage: "a read of 8 sectors took 4.1 s" });
  await until("the event", async () => (await spindle.query("events", { event_type: "SlowReads" })).data?.length === 1);
}

for (const [colorScheme, widths] of [["light", [1440, 900, 390, 320]], ["dark", [1440, 390]]]) {
  for (const width of widths) {
    test(`views at ${width} px, ${colorScheme}`, async () => {
      for (const [name, path] of VIEWS) {
        const page = await browser.page(spindle.base, { colorScheme, viewport: { width, height: width < 720 ? 844 : 900 }, reducedMotion: width === 900 ? "reduce" : "no-preference" });
        await page.see(path);
        const heading = page.locator("h1");
        await heading.waitFor();
        assert.equal(await heading.count(), 1, `${name}: one heading`);
        assert.ok((await heading.innerText()).length > 3, name);
        await page.waitForTimeout(name === "device" || name === "pipeline" ? 2500 : 800);
        assert.match(await page.locator(".live").innerText(), /Live/, name);
        const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide[0] <= wide[1], `${name} at ${width}: ${wide[0]} px wide`);
        await page.shot(`${name}-${width}-${colorScheme}`);
        await accessible(page, `${name} at ${width}, ${colorScheme}`);
        await page.done();
      }
    });
  }
}

test("an event appears without a reload", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/events?t=1h");
  await page.locator(".event-row").first().waitFor();
  await spindle.publish("events.event", { id: "page-2", criticality: 8, timestamp: new Date().toISOString(), sourceDevice: device, eventType: "FreshFault", eventMessage: "just now" });
  await page.locator(".event-row", { hasText: "FreshFault" }).waitFor();
  // Another device's event is another one, though it has the same id.
  await spindle.publish("events.event", { id: "page-2", criticality: 8, timestamp: new Date().toISOString(), sourceDevice: "other-device", eventType: "FreshFault", eventMessage: "there too" });
  await page.locator(".event-row", { hasText: "other-device" }).waitFor();
  await page.locator(".event-row", { hasText: "FreshFault" }).last().click();
  await page.locator(".event-pane h2", { hasText: "FreshFault" }).waitFor();
  await page.done();
});

test("what came during a pause is there after it", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/events?t=1h");
  await page.locator(".event-row").first().waitFor();
  await page.keyboard.press(" ");
  await page.locator(".live", { hasText: "Paused" }).waitFor();
  await spindle.publish("events.event", { id: "page-paused", criticality: 8, timestamp: new Date().toISOString(), sourceDevice: device, eventType: "PausedFault", eventMessage: "meanwhile" });
  await until("the event", async () => (await spindle.query("events", { event_type: "PausedFault" })).data?.length === 1);
  await page.waitForTimeout(3000);
  assert.equal(await page.locator(".event-row", { hasText: "PausedFault" }).count(), 0);
  await page.keyboard.press(" ");
  await page.locator(".event-row", { hasText: "PausedFault" }).waitFor();
  await page.done();
});

test("a device that becomes critical changes the sentence, and an acknowledgment its shape", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/");
  await page.locator("h1").waitFor();
  await spindle.publish("events.event", { id: "page-3", criticality: 10, timestamp: new Date().toISOString(), sourceDevice: device, eventType: "DriveFailure", eventMessage: "no answer" });
  await page.locator("h1", { hasText: "failing" }).waitFor();
  await page.locator(".list a", { hasText: device }).first().click();
  await page.locator(".why tbody tr").first().waitFor();
  await page.keyboard.press("a");
  await page.locator("dialog input").fill("on my way");
  await page.locator("dialog .primary").click();
  await until("the acknowledgment", async () => (await spindle.query("device_health", { source_device: device })).data.acknowledged);
  await page.locator("button", { hasText: "Acknowledged" }).waitFor();
  await page.done();
});

test("keys alone lead everywhere", async () => {
  const page = await browser.page(spindle.base);
  await page.see("/");
  await page.locator("h1").waitFor();
  await page.locator(".map-surface canvas").first().waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForURL("**/events");
  await page.keyboard.press("g");
  await page.keyboard.press("f");
  await page.locator(".map-surface canvas").first().waitFor();
  await page.locator(".map-surface").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  const cell = await page.locator("#active-cell").textContent();
  assert.match(cell ?? "", /, (ok|critical|warning|silent|unknown|asleep)/);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/device/**");
  await page.keyboard.press("/");
  await page.locator(".find-field").fill(device.slice(-4));
  await page.locator(".find-box [role=option]").first().waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/device/${encodeURIComponent(device)}`);
  await page.keyboard.press("?");
  await page.locator(".help-box").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("2");
  await page.waitForURL("**t=1h");
  await page.keyboard.press("d");
  assert.match(await page.evaluate(() => document.documentElement.dataset.theme ?? ""), /dark|light/);
  await page.done();
});

test("a lost connection shows, and comes back", async () => {
  const page = await browser.page(spindle.base, { allowed: /Failed to load resource|ERR_|net::/ });
  await page.see("/");
  await page.locator("h1").waitFor();
  await spindle.kill();
  await page.locator(".banner", { hasText: "Connection lost" }).waitFor({ timeout: 40_000 });
  await page.shot("lost");
  await spindle.start("--source", "simulate", "--devices", "60", "--seed", "7", "--interval", "500ms");
  await page.locator(".live", { hasText: "Live" }).waitFor({ timeout: 60_000 });
  await until("the banner to go", async () => !(await page.locator(".banner").isVisible()));
  await page.done();
});
