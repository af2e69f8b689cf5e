// Screenshots of every view of a running Spindle: node tests/shots.mjs http://127.0.0.1:8080 FOLDER
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [, , base, folder = "shots", only] = process.argv;
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const SHOTS = [
  ["fleet", "/", {}], ["fleet-dark-temperature", "/?colour=DiskTemp", { colorScheme: "dark" }], ["fleet-table", "/?view=table", {}],
  ["events", "/events", {}], ["pipeline", "/pipeline", { colorScheme: "dark", wait: 7000 }], ["ask", "/ask/fleet_health", {}],
  ["phone-fleet", "/", { viewport: { width: 390, height: 844 } }], ["phone-events", "/events", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }],
];
const devices = await (await fetch(`${base}/api/v1/query?query_type=fleet_health`)).json();
const worst = devices.data?.[0]?.source_device ?? (await (await fetch(`${base}/api/v1/query?query_type=devices`)).json()).data[0].source_device;
SHOTS.push(["device", `/device/${encodeURIComponent(worst)}?t=15m`, {}], ["phone-device", `/device/${encodeURIComponent(worst)}?t=15m`, { viewport: { width: 390, height: 844 } }]);
for (const [name, path, { wait = 2500, ...options }] of SHOTS) {
  if (only && !name.includes(only)) continue;
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => { if (message.type() === "error" || message.type() === "warning") console.log(`${name}: ${message.text()}`); });
  page.on("pageerror", (error) => console.log(`${name}: ${error.stack}`));
  await page.goto(base + path);
  await page.waitForTimeout(wait);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await context.close();
}
await browser.close();
