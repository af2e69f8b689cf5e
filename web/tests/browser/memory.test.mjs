// What the page keeps: nothing of an update stays once the next has come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, bigFleet, system } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"]);
const [WARM_UP, UPDATES] = [30, 120];

for (const [name, path] of [["map", "/"], ["table", "/?view=table"]]) {
  test(`a hundred updates leave nothing behind in the ${name}`, async () => {
    const page = await browser.page(spindle.base);
    // The page's clock is turned by hand: its next update comes at once.
    await page.clock.install();
    let n = 0;
    await answer(page, "fleet", () => {
      n += 1;
      const fleet = bigFleet(2_000);
      // Other devices are ill each time, and other values are there.
      fleet.data.state = fleet.data.state.map((_, index) => ((index + n) % 50 === 0 ? 4 : 0));
      const ill = fleet.data.state.flatMap((state, index) => (state === 0 ? [] : [index]));
      fleet.data.not_ok = { index: ill, score: ill.map(() => 50), since: ill.map(() => null), reason: ill.map((index) => `reason ${index} of update ${n}`), advice: ill.map(() => null), acknowledged: ill.map(() => false) };
      return { json: fleet };
    });
    await page.see(path);
    await page.locator("h1").waitFor();
    const session = await page.context().newCDPSession(page);
    const update = async () => {
      const before = n;
      for (let at = 0; n === before && at < 40; at += 1) await page.clock.runFor(1_000);
    };
    const measure = async () => {
      await session.send("HeapProfiler.collectGarbage");
      const { nodes, jsEventListeners: listeners } = await session.send("Memory.getDOMCounters");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      return { nodes, listeners, heap: usedSize };
    };
    while (n < WARM_UP) await update();
    const first = await measure();
    while (n < WARM_UP + UPDATES) await update();
    const last = await measure();
    const seen = JSON.stringify({ first, last });
    // The browser may hold one or two earlier drawings a while; one kept of each update would be a hundred.
    assert.ok(last.nodes < first.nodes * 4 + 200, seen);
    assert.ok(last.listeners < first.listeners * 4 + 50, seen);
    // An answer of 2,000 devices is about 0.5 MB: not one in ten may stay.
    assert.ok(last.heap < first.heap + 6e6, seen);
    await page.done();
  });
}
