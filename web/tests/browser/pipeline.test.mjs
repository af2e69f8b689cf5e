// The pipeline over time: from the store, so that it is the same wherever the writer runs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, answer, system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "30", "--seed", "7", "--interval", "500ms"]);
/** An hour of reports, of which 10 minutes are missing; before them messages waited. */
function history({ minutesOld = 0 } = {}) {
  const end = Math.floor(Date.now() / 10_000) * 10_000 - minutesOld * 60_000;
  const times = Array.from({ length: 360 }, (_, index) => ({ index, time: end - (359 - index) * 10_000 })).filter(({ index }) => index < 150 || index > 210);
  const data = times.map(({ index, time }) => ({
    time: new Date(time).toISOString(), n_writers: 2, values_per_second: 800 + 60 * Math.sin(index / 20), events_per_second: 0.1, dead_letters_per_second: 0, redelivered_per_second: 0, store_retries_per_second: 0,
    metrics_lag: index > 120 && index < 150 ? (index - 120) * 90 : 2, events_lag: 0, dead_letters: 3, store_latency_seconds: 0.004, store_latency_p99_seconds: index % 40 === 0 ? 0.25 : 0.01, ready: index > 120 && index < 150 ? 0 : 1,
  }));
  return { json: { status: "success", data, bucket_seconds: 10, basis: { from: null, until: new Date().toISOString(), n_points: data.length } } };
}

/** A process without writer, daemon and detector. */
async function apart(page) {
  await page.route("**/metrics", (route) => route.fulfill({ status: 200, contentType: "text/plain", body: "spindle_web_open_connections 1\n" }));
}

test("what the writer reports is drawn", async () => {
  const page = await browser.page(spindle.base);
  await until("a report", async () => (await spindle.query("pipeline", { since_minutes: 10 })).data?.length > 0);
  await page.see("/pipeline?t=15m");
  await page.locator(".lane", { hasText: "Stored" }).waitFor();
  await page.locator("h1", { hasText: "Everything that arrived is stored" }).waitFor();
  assert.match(await page.locator(".lane", { hasText: "Stored" }).innerText(), /[1-9]/);
  await page.shot("pipeline-real");
  await accessible(page, "pipeline-real");
  await page.done();
});

test("an hour with an outage, of writers elsewhere", async () => {
  for (const [colorScheme, width] of [["light", 1440], ["dark", 390]]) {
    const page = await browser.page(spindle.base, { colorScheme, viewport: { width, height: 900 } });
    await apart(page);
    await answer(page, "pipeline", () => history());
    await page.see("/pipeline?t=1h");
    await page.locator(".lane").nth(2).waitFor();
    await page.locator("h1", { hasText: "Everything that arrived is stored" }).waitFor();
    assert.match(await page.locator(".picture").innerHTML(), /2 writers/);
    await page.shot(`pipeline-apart-${width}`);
    await accessible(page, `pipeline-apart-${width}`);
    await page.done();
  }
});

test("writers that report no more are not called well", async () => {
  const page = await browser.page(spindle.base);
  await apart(page);
  await answer(page, "pipeline", () => history({ minutesOld: 5 }));
  await page.see("/pipeline?t=1h");
  await page.locator("h1", { hasText: "The writers report nothing" }).waitFor();
  await page.shot("pipeline-silent");
  await accessible(page, "pipeline-silent");
  await page.done();
});
