// Dead letters on the page: what is bad appears, is read as text, replayed and dropped.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, system, until } from "./rig.mjs";

const { spindle, browser } = system(["--source", "simulate", "--devices", "3", "--seed", "7"]);
const BAD = "<img src=x onerror=alert(1)> \u202eno json\u0007";

const hot = (device) => ({ timestamp: new Date().toISOString(), sourceDevice: device, metricType: "DiskTemp", value: 4575 });
const letters = async () => (await (await fetch(`${spindle.base}/api/v1/dead_letters`)).json()).data;
const open = async (options = {}) => {
  const page = await browser.page(spindle.base, options);
  await page.see("/pipeline");
  await page.locator(".letters h2").waitFor();
  return page;
};

test("a bad message appears, is read as text, replayed, and dropped", async () => {
  const page = await open();
  await page.locator(".letters", { hasText: "Everything that came was understood" }).waitFor();
  // A JSON text is valid JSON and still not a message.
  await spindle.publish("events.metrics", BAD);
  await spindle.publish("events.metrics", hot("too-hot"));
  const rows = page.locator(".letters tbody tr");
  await until("both rows", async () => (await rows.count()) === 2);
  await page.locator(".letters tbody tr", { hasText: "too-hot" }).waitFor();
  const odd = page.locator(".letters tbody tr", { hasText: "bad_shape" });
  await odd.locator("button", { hasText: "Read" }).click();
  const dialog = page.locator("dialog");
  await dialog.locator("pre", { hasText: "onerror" }).waitFor();
  assert.equal(await dialog.locator("img").count(), 0);
  const text = await dialog.locator("pre").textContent();
  assert.ok(text.includes("<img src=x onerror=alert(1)>") && text.includes("\\u202e") && !text.includes("\u202e"), text);
  await page.shot("dead-letter");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });

  // As bad as before: it comes back as a new one.
  const replay = page.locator(".letters button", { hasText: "Replay" });
  assert.ok(await replay.isDisabled());
  await page.locator(".letters tbody tr", { hasText: "too-hot" }).locator("input").check();
  assert.equal(await replay.innerText(), "Replay 1");
  await replay.click();
  await page.locator(".outcomes", { hasText: "replayed" }).waitFor();
  await page.locator(".letters tbody tr", { hasText: "replayed once" }).waitFor();
  await page.shot("dead-letters");

  await page.locator(".letters thead input").check();
  await page.locator(".letters button", { hasText: "Drop 2…" }).click();
  await dialog.locator("input").fill("1");
  await dialog.locator("button.primary").click();
  await dialog.locator(".problem", { hasText: "That is not 2." }).waitFor();
  assert.equal((await letters()).length, 2);
  await page.shot("dead-letters-drop");
  await dialog.locator("input").fill("2");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.locator(".letters", { hasText: "Everything that came was understood" }).waitFor();
  await page.locator(".outcomes", { hasText: "dropped" }).waitFor();
  assert.deepEqual(await letters(), []);
  await page.done();
});

test("what the server refuses is said in its words", async () => {
  await spindle.publish("events.metrics", hot("still-hot"));
  const page = await open({ allowed: /Failed to load resource/ });
  await page.locator(".letters tbody input").check();
  const answers = [{ status: 500, json: { status: "error", message: "the NATS user may not publish to 'events.metrics'" } }, { json: { status: "success", data: [{ sequence: 9, outcome: "refused", reason: "came from 'nowhere'" }] } }];
  await page.route("**/api/v1/dead_letters/replay", (route) => route.fulfill(answers.shift()));
  await page.locator(".letters button", { hasText: "Replay 1" }).click();
  await page.locator(".letters .problem", { hasText: "may not publish to 'events.metrics'" }).waitFor();
  await page.locator(".letters button", { hasText: "Replay 1" }).click();
  await page.locator(".outcomes .problem", { hasText: "Letter 9 remains: came from 'nowhere'" }).waitFor();
  await page.done();
});

for (const [colorScheme, width] of [["light", 1440], ["dark", 1440], ["light", 900], ["light", 390], ["dark", 320]]) {
  test(`a long list at ${width} px, ${colorScheme}`, async () => {
    for (let n = (await letters()).length; n < 60; n += 1) await spindle.publish("events.metrics", hot(`قرص-${"x".repeat(n)}`));
    const page = await open({ colorScheme, viewport: { width, height: 900 } });
    await until("a page of letters", async () => (await page.locator(".letters tbody tr").count()) === 50);
    await page.locator(".letters tbody input").first().check();
    const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= inner, `${wide} px wide`);
    await page.locator(".letters .row").scrollIntoViewIfNeeded();
    await page.shot(`dead-letters-${width}-${colorScheme}`);
    await accessible(page, `dead letters at ${width}, ${colorScheme}`);
    await page.locator(".letters tbody button").first().click();
    await page.locator("dialog pre").waitFor();
    await page.waitForTimeout(300);
    await accessible(page, `dead letters at ${width}, ${colorScheme}`);
    await page.shot(`dead-letter-${width}-${colorScheme}`);
    await page.keyboard.press("Escape");
    if (width === 1440) {
      await page.locator(".letters button", { hasText: "Show more" }).click();
      await until("all letters", async () => (await page.locator(".letters tbody tr").count()) > 50);
    }
    await page.done();
  });
}
