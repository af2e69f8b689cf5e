import { expect, test } from "vitest";
import { zoomed } from "../../src/lane_data";
import { search } from "../../src/search";
import { parseTime, timeText } from "../../src/time_text";
import type { EventRow, Reason } from "../../src/types";
import { paramOf } from "../../src/views/ask_param";
import { linesOf } from "../../src/views/event_lines";
import { against, asExpected } from "../../src/views/why_words";
import * as words from "../../src/words";
import { fleetOf } from "./fleet";

const NOW = new Date(2026, 10, 30, 9, 41, 20).getTime();
const local = (...parts: [number, number, number, number, number, number?]) => new Date(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5] ?? 0).getTime();

test("times are read as people type them", () => {
  const read = (text: string) => parseTime(text, NOW);
  expect(["now", "", "6 h ago", "-90 min", "09:30", "yesterday 09:41", "30 Nov 08:00", "2026-11-12 23:05:07", "12 november"].map(read)).toEqual([
    NOW, NOW, NOW - 21_600_000, NOW - 5_400_000, local(2026, 10, 30, 9, 30), local(2026, 10, 29, 9, 41), local(2026, 10, 30, 8, 0), local(2026, 10, 12, 23, 5, 7), local(2026, 10, 12, 0, 0)]);
  expect(read("2026-11-30T08:41:20Z")).toBe(Date.UTC(2026, 10, 30, 8, 41, 20));
  // Without a year it is the last such day.
  expect(read("24 Dec 18:00")).toBe(local(2025, 11, 24, 18, 0));
  expect(["soon", "25:00", "31 Feb 10:00", "2026-13-01 10:00", "12:60"].map(read)).toEqual([NaN, NaN, NaN, NaN, NaN]);
});

test("what is written is read back", () => {
  for (const at of [NOW, NOW - 60_000, local(2026, 10, 29, 19, 41), local(2026, 1, 3, 4, 5, 6), local(2024, 9, 21, 8, 30)]) expect(parseTime(timeText(at, NOW), NOW)).toBe(at);
  expect([timeText(NOW, NOW), timeText(local(2026, 10, 29, 19, 41), NOW)]).toEqual(["now", "yesterday 19:41"]);
});

const row = (seconds: number, given: Partial<EventRow> = {}): EventRow => ({ time: new Date(NOW - seconds * 1000).toISOString(), received: "", event_id: `e${seconds}`, source_device: "d", event_type: "T", criticality: 5, event_message: "m", ...given });

test("equal events of a device fold within a minute, others between them or not", () => {
  const counts = (rows: EventRow[]) => linesOf(rows, "", NOW).map((line) => ("row" in line ? line.n : line.day));
  expect(counts([row(0), row(10), row(20, { source_device: "other" }), row(30)])).toEqual([3, 1]);
  expect(counts([row(0), row(59), row(60)])).toEqual([2, 1]);
  expect(counts([row(0), row(1, { criticality: 9 }), row(2, { event_type: "U" })])).toEqual([1, 1, 1]);
  expect(counts([row(0), row(86_400)])).toEqual([1, "29 Nov 2026", 1]);
  expect(linesOf([row(0), row(1, { event_message: "Checksum" })], "checksum", NOW).length).toBe(1);
});

test("a device is found by name, serial number and place; bay 1 before bay 17", () => {
  const fleet = fleetOf([{ name: "a", enclosure: "e1", bay: "17" }, { name: "b", enclosure: "e1", bay: "1" }, { name: "c", state: "critical", enclosure: "e2", bay: "17" }]);
  const names = (text: string) => search(fleet, text, (index) => `SN-${fleet.device(index)}X9`).map((index) => fleet.device(index));
  expect(names("bay 1")).toEqual(["b", "c", "a"]);
  expect(names("e1 17")).toEqual(["a"]);
  expect(names("sn-bx9")).toEqual(["b"]);
  expect(names("")).toEqual(["c"]);
  expect(names("nothing")).toEqual([]);
});

test("an error finds its field", () => {
  const names = ["at", "limit", "health", "window_minutes"];
  expect(paramOf("parameter 'limit' of fleet_health is 0: expected a whole number", names)).toBe("limit");
  expect(paramOf("parameter 'at' of fleet_health is xx: expected a time", names)).toBe("at");
  expect(paramOf("window_minutes must reach back: there is no data", names)).toBe("window_minutes");
  expect(paramOf("no data at that time", names)).toBeNull();
});

test("what is as expected is named, the rest counted", () => {
  expect([[], ["DiskTemp"], ["DiskTemp", "IOPs"], ["CRCErrors", "DiskTemp", "IOPs", "Latency", "X"]].map(asExpected)).toEqual(["", "As expected: temperature.", "As expected: temperature and operations.", "As expected: CRC errors, temperature, operations and 2 more."]);
});

test("a finding says what was expected, and what it means, once", () => {
  const reason: Reason = { metric: "Latency", health: "warning", value: 225, limit: 100, time: null, why: "requests wait too long: Latency is 225 ms, limit 100 ms", expected: "below 100 ms", trend: "rose by 88 ms in 61 min" };
  expect(against(reason, true, NOW)).toEqual({ detail: "below 100 ms; rose by 88 ms in 61 min", meaning: "requests wait too long" });
  expect(against({ ...reason, metric: "DeviceSlow", why: "DeviceSlow at 2026-11-30T22:29:00Z: Latency 114 ms, expected 7 ms" }, false, NOW).detail).toBe("Latency 114 ms, expected 7 ms");
});

test("times in a text are those of this clock", () => {
  const time = new Date(NOW - 60_000).toISOString();
  expect(words.localTimes(`silent since ${time}, 1 minute`, NOW)).toBe("silent since 09:40:20, 1 minute");
  expect(words.message({ event_type: "Other", event_message: `at ${time}` }, NOW)).toBe(`at ${time}`);
});

test("a zoom keeps the place under the pointer", () => {
  expect(zoomed({ from: 0, until: 1_000_000, marks: [] }, 0.25, 0.5)).toEqual([125_000, 625_000]);
  expect(zoomed({ from: 0, until: 60_000, marks: [] }, 0.5, 0.5)).toEqual([0, 60_000]);
});
