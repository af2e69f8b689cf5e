import { expect, test } from "vitest";
import { ofFleet } from "../../src/sentence";
import { fleetOf } from "./fleet";
import type { Given } from "./fleet";

const ok = (n: number): Given[] => Array.from({ length: n }, (_, index) => ({ name: `ok-${index}` }));
const title = (...devices: Given[]) => ofFleet(fleetOf([...devices, ...ok(3)]), []).title;

test("the sentence names the worst", () => {
  expect(title({ name: "d1", state: "critical", enclosure: "enclosure-02", bay: "17" }, { name: "d2", state: "warning" })).toBe("One drive is failing: enclosure-02, bay 17");
  expect(title({ name: "d1", state: "critical" })).toBe("One drive is failing: d1");
  expect(title({ name: "d1", state: "warning" })).toBe("One thing needs a look: d1");
  expect(title({ name: "d1", state: "silent" }, { name: "d2", state: "silent" })).toBe("Two devices are silent");
  expect(title({ name: "d1", state: "unknown" })).toBe("Nothing is known about one device");
  expect(title()).toBe("All 3 drives are well");
});

test("a group with three that fail is named", () => {
  const failing = (n: number, enclosure: string) => Array.from({ length: n }, (_, index): Given => ({ name: `${enclosure}-${index}`, state: "critical", enclosure }));
  expect(title(...failing(8, "enclosure 110"), ...failing(38, ""))).toBe("46 drives are failing, eight of them in enclosure 110");
  expect(title(...failing(3, "e1"))).toBe("Three drives are failing, all in e1");
  expect(title(...failing(2, "e1"))).toBe("Two drives are failing");
});

test("the rest is counted, and the advice is that of the worst", () => {
  const fleet = fleetOf([{ name: "a", state: "critical", advice: "Replace the drive.", since: "2026-11-30T02:14:00Z" }, { name: "b", state: "warning" }, { name: "c", state: "silent" }, { name: "d", state: "silent" }]);
  const said = ofFleet(fleet, []);
  expect([said.state, said.advice, said.rest]).toEqual(["critical", "Replace the drive.", "One more thing needs a look; two devices are silent."]);
  expect(new Date(said.since).toISOString()).toBe("2026-11-30T02:14:00.000Z");
});

test("devices of different kinds are devices", () => {
  expect(ofFleet(fleetOf([{ name: "a" }, { name: "b", className: "StorageArray" }]), []).title).toBe("All 2 devices are well");
});
