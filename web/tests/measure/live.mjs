// Measures the live page at 10,000 devices, one reading a second each: `node tests/measure/live.mjs [MINUTES]`.
// Prints time to interactive, the cost of a full redraw, frames while scrolling, and memory over the minutes.
// SPINDLE_TEST_PROGRAM names the program (a release build, to be fair), SPINDLE_NATS_SERVER its nats-server.
import { Browser, Spindle, until } from "../browser/rig.mjs";

const minutes = Number(process.argv[2] ?? 10);
const spindle = new Spindle();
const browser = await Browser.open();
try {
  await spindle.start("--source", "simulate", "--devices", "10000", "--interval", "1s");
  await until("10,000 devices", async () => (await spindle.query("fleet", { names: "front_coded" })).data?.state.length === 10_000, 180_000);
  const page = await browser.page(spindle.base, { allowed: /./ });
  const started = Date.now();
  await page.see("/");
  await page.locator(".map-surface canvas").first().waitFor();
  console.log(`interactive after ${Date.now() - started} ms`);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const busy = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value * 1000;
    return of("ScriptDuration") + of("LayoutDuration") + of("RecalcStyleDuration");
  };
  const redraws = [];
  for (let at = 0; at < 20; at += 1) {
    const before = await busy();
    // The theme draws everything again.
    await page.keyboard.press("d");
    await page.waitForTimeout(60);
    redraws.push((await busy()) - before);
  }
  redraws.sort((a, b) => a - b);
  console.log(`full redraw of the view, ms of main thread: median ${redraws[10].toFixed(1)}, worst ${redraws[19].toFixed(1)}`);
  const frames = await page.evaluate(async () => {
    const times = [];
    const end = performance.now() + 5_000;
    let [last, down] = [performance.now(), 1];
    while (performance.now() < end) {
      scrollBy(0, 40 * down);
      if (scrollY + innerHeight >= document.body.scrollHeight - 1) down = -1; else if (scrollY === 0) down = 1;
      const now = await new Promise((resolve) => requestAnimationFrame(resolve));
      times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b);
  });
  console.log(`scrolling: median ${frames[frames.length >> 1].toFixed(1)} ms a frame, 95 % within ${frames[Math.floor(frames.length * 0.95)].toFixed(1)} ms`);
  for (let minute = 0; minute <= minutes; minute += 1) {
    await session.send("HeapProfiler.collectGarbage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    console.log(`minute ${minute}: heap ${(usedSize / 1e6).toFixed(1)} MB, ${nodes} nodes, ${jsEventListeners} listeners`);
    if (minute < minutes) await page.waitForTimeout(60_000);
  }
} finally {
  await browser.close();
  await spindle.stop();
}
