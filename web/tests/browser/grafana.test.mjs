// From the page of a device to its dashboard, and from there to the page.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, Spindle, until } from "./rig.mjs";

let spindle, browser;
before(async () => {
  process.env.SPINDLE_GRAFANA_URL = "http://127.0.0.1:3000/grafana/";
  spindle = await new Spindle().start("--source", "simulate", "--devices", "6", "--seed", "3", "--interval", "1s");
  delete process.env.SPINDLE_GRAFANA_URL;
  await until("devices", async () => (await spindle.query("fleet")).data.device.length === 6);
  browser = await Browser.open();
});
after(async () => { await browser?.close(); await spindle?.stop(); });

test("a device links to its dashboard over the same range", async () => {
  const page = await browser.page(spindle.base);
  const name = (await spindle.query("fleet")).data.device[0];
  const link = page.getByRole("link", { name: "In Grafana" });
  const target = async () => new URL(await link.getAttribute("href"));
  await page.see(`/device/${encodeURIComponent(name)}?t=1h`);
  const shown = await target();
  assert.equal(shown.origin + shown.pathname, "http://127.0.0.1:3000/grafana/d/spindle-device");
  assert.deepEqual(Object.fromEntries(shown.searchParams), { "var-SourceDevice": name, from: "now-60m", to: "now" });
  await page.locator(".lanes canvas").first().waitFor();
  await page.shot("device-grafana");
  // As the dashboards write it.
  const [from, to] = ["2026-11-29T10:00:00.000Z", "2026-11-29T12:00:00.000Z"];
  await page.see(`/device/${encodeURIComponent(name)}?from=${from}&to=${to}`);
  const fixed = await target();
  assert.deepEqual([fixed.searchParams.get("from"), fixed.searchParams.get("to")], [String(Date.parse(from)), String(Date.parse(to))]);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.see(`/device/${encodeURIComponent(name)}?from=${from}&to=2026-11-30T09:00:00.000Z`);
  await link.waitFor();
  const live = await page.locator(".live").boundingBox();
  assert.ok(live.x + live.width <= 390, `the head is ${live.x + live.width} px wide`);
  await page.shot("device-grafana-phone");
  await page.done();
});
