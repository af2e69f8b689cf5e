// A day with 100,000 events, stored for real.
import assert from "node:assert/strict";
import { test } from "node:test";
import { system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"], { prepare });
const [N, PER_MESSAGE, DAY_MS] = [100_000, 1_000, 86_400_000];

async function prepare() {
  const end = Date.now() - 60_000;
  for (let first = 0; first < N; first += PER_MESSAGE) {
    const events = Array.from({ length: PER_MESSAGE }, (_, at) => {
      const number = first + at;
      return { id: `day-${number}`, criticality: 1 + (number % 7), timestamp: new Date(end - (number * (DAY_MS - 300_000)) / N).toISOString(), sourceDevice: `drive-${number % 300}`, eventType: ["LatencyHigh", "RetryCount", "FanSlow"][number % 3], eventMessage: `reading ${number}` };
    });
    await spindle.publish("events.event", events);
  }
  await until("all events are stored", async () => (await spindle.query("events", { since_minutes: 1_500, limit: 1, offset: N - 1, by: "time" })).data?.length === 1, 240_000);
}

test("100,000 events in a day", async () => {
  const page = await browser.page(spindle.base);
  const started = Date.now();
  await page.see("/events");
  await page.locator(".event-row").first().waitFor();
  assert.ok(Date.now() - started < 10_000, `the first rows came after ${Date.now() - started} ms`);
  await page.locator("h1", { hasText: /events/ }).waitFor();
  await page.shot("events-of-a-day");
  for (let at = 0; at < 6; at += 1) {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.waitForTimeout(500);
  }
  const rows = await page.locator(".event-row").count();
  assert.ok(rows > 0 && rows < 150, `${rows} rows exist at once`);
  await page.shot("events-of-a-day-end");
  await page.evaluate(() => scrollTo(0, 0));
  await page.locator(".select", { hasText: "Type" }).locator("select").selectOption("FanSlow");
  await page.waitForURL("**type=FanSlow**");
  await until("only that type", async () => (await page.locator(".event-row").allInnerTexts()).every((text) => text.includes("FanSlow")));
  await page.done();
});
