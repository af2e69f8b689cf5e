// The fleet: what its parts do, and shelves that the simulation does not have.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, answer, bigFleet, system, wellFleet } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"]);
/** Answers several types of questions. */
async function open(path, given, options = {}) {
  const page = await browser.page(spindle.base, options);
  for (const [type, json] of Object.entries(given)) await answer(page, type, json);
  return page.see(path);
}
const incidents = (data) => ({ status: "success", data, summary: { open: 0, acknowledged: 0, closed: data.length }, basis: { from: null, until: new Date().toISOString(), n_points: 0 } });
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();

test("a drag over the devices that were not ok chooses the range, and what was not read is said", async () => {
  const history = { status: "success", data: [{ time: ago(1440), critical: 0, warning: 1, unknown: 0 }, { time: ago(300), critical: 2, warning: 1, unknown: 3 }], cut_off: ["HealthChanged"], basis: { from: null, until: new Date().toISOString(), n_points: 2 } };
  const page = await open("/", { fleet: bigFleet(114), fleet_history: history });
  await page.locator(".not-ok figcaption", { hasText: "older verdicts not read" }).waitFor();
  const box = await page.locator(".not-ok svg").boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL("**from=**to=**");
  const params = new URL(page.url()).searchParams;
  const hours = (Date.parse(params.get("to")) - Date.parse(params.get("from"))) / 3_600_000;
  assert.ok(Math.abs(hours - 6) < 0.3, `${hours} h`);
  await page.done();
});

test("the table has the columns that are chosen, also by its address", async () => {
  const page = await open("/?view=table", { fleet: bigFleet(114) });
  const heads = () => page.locator(".fleet-table thead button").allInnerTexts();
  await page.locator(".fleet-table tbody .ribbon").first().waitFor();
  assert.ok((await heads()).some((head) => head.startsWith("Score")));
  await page.locator(".column-choice summary").click();
  await page.locator(".column-choice label", { hasText: "Score" }).click();
  await page.waitForURL("**columns=**");
  assert.ok(!(await heads()).some((head) => head.startsWith("Score")));
  assert.equal(await page.locator(".column-choice .menu").isVisible(), true, "it stays open");
  await page.shot("fleet-columns");
  await accessible(page, "fleet-columns");
  await page.locator(".column-choice summary").click();
  await page.goto(`${spindle.base}/?view=table&columns=device%2CDiskTemp`);
  await page.locator(".fleet-table tbody tr").first().waitFor();
  assert.equal((await heads()).length, 2);
  assert.equal(await page.locator(".fleet-table .ribbon").count(), 0);
  const weight = await page.evaluate(() => { const cell = document.createElement("td"); cell.className = "reason"; document.querySelector(".fleet-table tr.critical").append(cell); return getComputedStyle(cell).fontWeight; });
  assert.equal(weight, "600");
  await page.done();
});

test("single drives with one reason are one row", async () => {
  const fleet = bigFleet(600);
  const page = await open("/", { fleet, incidents: incidents([]) });
  await page.locator(".list li").first().waitFor();
  const titles = await page.locator(".list li b").allInnerTexts();
  assert.ok(titles.some((title) => /single drives$/.test(title)), titles.join());
  assert.ok(titles.length <= 7, titles.join());
  await page.locator(".list li a", { hasText: "single drives" }).first().hover();
  await page.waitForTimeout(300);
  await page.shot("fleet-folded");
  await accessible(page, "fleet-folded");
  await page.done();
});

test("while all is well, what was wrong last is there to be watched", async () => {
  const fleet = wellFleet(114);
  const closed = { id: "i1", state: "closed", cause: "wear", health: "critical", criticality: 9, source_device: "DiskUnit-00007", devices: ["DiskUnit-00007"], place: { enclosure: "enclosure-001" }, since: ago(300), until: ago(200), changed: ago(200), advice: null, reasons: [{ metric: "Latency", health: "critical", why: "latency three times that of its peers", source_device: "DiskUnit-00007" }], n_reasons: 1 };
  const page = await open("/", { fleet, incidents: incidents([closed]) });
  await page.locator(".list", { hasText: "next to watch" }).waitFor();
  assert.match(await page.locator(".list li").innerText(), /DiskUnit-00007[\s\S]*over since[\s\S]*three times/);
  await page.shot("fleet-watched");
  await accessible(page, "fleet-watched");
  await page.done();
});

for (const bays of [12, 60]) {
  test(`shelves of ${bays} bays in racks, names of 60 characters and from right to left`, async () => {
    const n = bays * 4;
    const name = (index) => (index % bays === 3 ? `${"ق".repeat(3)}رص-${index}` : index % bays === 5 ? `VENDOR_MODEL-0123456789_SERIAL-${"X".repeat(24)}-${String(index).padStart(4, "0")}` : `disk-${String(index).padStart(4, "0")}`);
    const fleet = bigFleet(n, name);
    fleet.data.labels.enclosure = { names: ["rack 1, shelf A", "rack 1, shelf B", "rack 2, shelf A", "rack 2, shelf B"], index: Array.from({ length: n }, (_, index) => Math.floor(index / bays)) };
    fleet.data.labels.bay = { names: Array.from({ length: bays }, (_, index) => String(index + 1)), index: Array.from({ length: n }, (_, index) => index % bays) };
    fleet.data.state[3] = 5;
    fleet.data.state[5] = 4;
    fleet.data.not_ok = { index: [3, 5], score: [9, 60], since: [ago(60), ago(30)], reason: ["48 unreadable sectors", "slow"], advice: ["Replace the drive.", null], acknowledged: [false, false] };
    fleet.data.state = fleet.data.state.map((state, index) => ([3, 5].includes(index) ? state : 0));
    for (const width of [1440, 390]) {
      const page = await open("/", { fleet, incidents: incidents([]) }, { viewport: { width, height: 900 } });
      await page.locator(".map-surface canvas").first().waitFor();
      await page.locator(".map-surface").focus();
      for (let at = 0; at < 3; at += 1) await page.keyboard.press("ArrowRight");
      await page.waitForTimeout(400);
      const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide[0] <= wide[1], `${wide[0]} px wide at ${width}`);
      assert.match(await page.locator("#active-cell").textContent(), /rack 1, shelf A/);
      await page.shot(`shelves-of-${bays}-${width}`);
      await accessible(page, `shelves-of-${bays}-${width}`);
      await page.done();
    }
  });
}
