// Measures the live page with 10,000 devices: `node tests/measure/live.mjs [MINUTES]`.
// First with a fleet that is played, so that nothing else runs: time to interactive, drawing, frames while scrolling.
// Then with 10,000 devices that send one reading of each metric a second: the same page, and its memory over the minutes.
// SPINDLE_TEST_PROGRAM names the program (a release build, to be fair), SPINDLE_NATS_SERVER its nats-server.
import { answer, bigFleet, Browser, Spindle, until } from "../browser/rig.mjs";

const minutes = Number(process.argv[2] ?? 10);
const browser = await Browser.open();

async function open(spindle, fleet) {
  const page = await browser.page(spindle.base, { allowed: /./ });
  if (fleet) await answer(page, "fleet", fleet);
  const started = Date.now();
  await page.see("/");
  await page.locator(".map-surface canvas").first().waitFor();
  console.log(`interactive after ${Date.now() - started} ms`);
  return page;
}

const share = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(1);

async function drawing(page) {
  const times = [];
  for (let at = 0; at < 30; at += 1) {
    await page.evaluate(() => { delete document.querySelector(".map-surface").dataset.drawn; });
    // The theme makes everything anew.
    await page.keyboard.press("d");
    times.push(Number(await until("a drawn map", () => page.evaluate(() => document.querySelector(".map-surface")?.dataset.drawn))));
  }
  times.sort((a, b) => a - b);
  const height = await page.evaluate(() => document.querySelector(".map-surface").clientHeight);
  console.log(`drawing what is on the screen and 400 px around it, of ${height} px: median ${share(times, 0.5)} ms, worst ${share(times, 1)}`);
}

async function scrolling(page) {
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
  console.log(`scrolling: median ${share(frames, 0.5)} ms a frame, 95 % within ${share(frames, 0.95)} ms`);
}

async function memory(page) {
  const session = await page.context().newCDPSession(page);
  for (let minute = 0; minute <= minutes; minute += 1) {
    await session.send("HeapProfiler.collectGarbage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    console.log(`minute ${minute}: heap ${(usedSize / 1e6).toFixed(1)} MB, ${nodes} nodes, ${jsEventListeners} listeners`);
    if (minute < minutes) await page.waitForTimeout(60_000);
  }
}

async function withSpindle(args, work) {
  const spindle = new Spindle();
  try {
    await spindle.start("--source", "simulate", ...args);
    await work(spindle);
  } finally {
    await spindle.stop();
  }
}

try {
  await withSpindle(["--devices", "3"], async (spindle) => {
    console.log("played, 10,008 devices");
    const page = await open(spindle, bigFleet(10_008));
    await drawing(page);
    await scrolling(page);
  });
  if (minutes > 0) {
    await withSpindle(["--devices", "10000", "--interval", "1s"], async (spindle) => {
      console.log("live, 10,000 devices");
      await until("10,000 devices", async () => (await spindle.query("fleet", { names: "front_coded" })).data?.state.length === 10_000, 180_000);
      const page = await open(spindle);
      await scrolling(page);
      await memory(page);
    });
  }
} finally {
  await browser.close();
}
