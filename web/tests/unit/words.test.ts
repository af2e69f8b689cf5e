import { describe, expect, test } from "vitest";
import * as words from "../../src/words";

const plain = (text: string) => text.replace(/\u2009/g, " ");

describe("numbers", () => {
  test("three significant digits, thin spaces from five digits on", () => {
    expect([0.14, 7.4, 61.4, 148, 1240, 12_400, 326_000, 4.8e9, 0, -3.5].map((n) => plain(words.number(n)))).toEqual(["0.14", "7.4", "61.4", "148", "1240", "12 400", "326 k", "4.8 G", "0", "−3.5"]);
  });
  test("no value is a dash", () => {
    expect([words.number(null), words.value(undefined, "ms"), words.number(NaN)]).toEqual(["–", "–", "–"]);
  });
  test("digits follow the unit", () => {
    expect([words.value(35.26, "°C", "cell"), words.value(35.26, "°C"), words.value(0.138, "ms"), words.value(61.42, "ms"), words.value(87.6, "%")]).toEqual(["35", "35.3", "0.14", "61.4", "88"]);
  });
  test("counts are words up to twelve", () => {
    expect([words.counted(1, "drive"), words.counted(12, "array"), words.counted(13, "device"), words.counted(2, "battery")]).toEqual(["one drive", "twelve arrays", "13 devices", "two batteries"]);
  });
});

test("durations have at most two units", () => {
  expect([0, 42, 2460, 26_820, 86_400, 1_051_200, 40_000_000].map((s) => plain(words.duration(s)))).toEqual(["0 s", "42 s", "41 min", "7 h 27 min", "1 d", "12 d 4 h", "1 y 3 mon"]);
});

test("a time has its day unless that is today", () => {
  const now = new Date(2026, 10, 30, 9, 41, 20).getTime();
  const at = (...parts: [number, number, number, number, number]) => words.clock(new Date(...parts).getTime(), now);
  expect([at(2026, 10, 30, 2, 14), at(2026, 10, 29, 19, 41), at(2026, 10, 12, 8, 0), at(2024, 9, 21, 8, 0)]).toEqual(["02:14", "yesterday 19:41", "12 Nov 08:00", "21 Oct 2024"]);
});

test("names are text: control and bidirectional characters show", () => {
  expect(words.name("a\u202eb\u0007c")).toBe("a\\u202eb\\u0007c");
  expect(words.short("DiskUnit-0041", 9)).toBe("Disk…0041");
  expect(words.name("<b>قرص-٤١")).toBe("<b>قرص-٤١");
});

test("metrics have names for people", () => {
  expect(["DiskTemp", "IOPs", "smart_5_raw", "ReadThroughput", "CRCErrors"].map(words.metric)).toEqual(["Temperature", "Operations", "SMART 5 raw", "Read throughput", "CRC errors"].map((text) => expect.stringMatching(new RegExp(`^${text}$`, "i"))));
});

test("times of the wire have nanoseconds", () => {
  expect(words.millis("2026-11-30T08:31:07.080412345Z")).toBe(Date.UTC(2026, 10, 30, 8, 31, 7, 80));
  expect(words.millis(null)).toBeNaN();
});

test("a reason does not repeat its type and time", () => {
  const NOW = Date.parse("2026-11-30T21:00:00Z");
  expect(words.reason("no data in the 60 minutes before 2026-11-30T20:38:12.646Z", NOW)).toBe(`no data in the 60 minutes before ${words.clock(Date.parse("2026-11-30T20:38:12Z"), NOW, true)}`);
  expect(words.reason("DataCorruption at 2026-11-30T20:38:12Z: checksum mismatch", NOW)).toBe("checksum mismatch");
  expect(words.reason("unreadable sectors: PendingSectors is 65, limit 1", NOW)).toBe("unreadable sectors: PendingSectors is 65, limit 1");
});
