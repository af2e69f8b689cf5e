import { expect, test } from "vitest";
import { atLeastZero, columns, gaps, join, scale, steps, ticks } from "../../src/lane_data";
import type { Lane } from "../../src/lane_data";

const BEGIN = Date.UTC(2026, 10, 30);
const at = (minutes: number) => BEGIN + minutes * 60_000;

/** A lane with a value at each of these minutes, in buckets of one. */
function lane(minutes: number[], given: Partial<Lane> = {}, value = (minute: number) => minute): Lane {
  const buckets = minutes.map((minute) => ({ time: new Date(at(minute)).toISOString(), min: value(minute) - 1, mean: value(minute), max: value(minute) + 1, count: 3 }));
  return { key: "m", title: "m", state: "ok", unit: "ms", buckets, bucketSeconds: 60, expected: [], flagged: [], limits: [], silentSince: NaN, isCounter: false, ...given };
}

test("a gap breaks the line, and values that come seldom make none", () => {
  const broken = columns(lane([0, 1, 2, 3, 20, 21]));
  expect(broken.value).toEqual([0, 1, 2, 3, null, 20, 21]);
  expect(broken.bucket).toEqual([0, 1, 2, 3, -1, 4, 5]);
  expect(columns(lane([0, 30, 60, 90, 120])).value).toEqual([0, 30, 60, 90, 120]);
});

test("times without values are hatched, up to the end", () => {
  expect(gaps(lane([0, 1, 2, 3, 20, 21]), at(22))).toEqual([[at(4), at(20)]]);
  expect(gaps(lane([0, 1, 2]), at(30))).toEqual([[at(3), at(30)]]);
  expect(gaps(lane([0, 1, 2], { silentSince: at(3) }), at(30))).toEqual([[at(3), at(30)]]);
  expect(gaps(lane([0, 30, 60]), at(70))).toEqual([]);
});

test("a counter is drawn by its last value", () => {
  expect(columns(lane([5], { isCounter: true })).value).toEqual([6]);
});

test("what is out of band is one stretch to the eye", () => {
  expect(join([[at(9), at(10)], [at(0), at(1)], [at(2), at(3)]], 60_000)).toEqual([[at(0), at(3)], [at(9), at(10)]]);
  expect(columns(lane([0, 1, 2, 3], { flagged: [[at(1), at(2)]] })).flagged).toEqual([null, 1, 2, null]);
});

test("a wild band does not flatten the values", () => {
  const expected: [number, number][] = [[-23_000, 40], [10, 90_000]];
  const [low, high] = scale(lane([40, 50], { expected, unit: null }));
  expect([low < -1000, high < 100]).toEqual([false, true]);
  expect(atLeastZero([-23_000, -20])).toBeNull();
  expect(atLeastZero([-3, 4])).toEqual([0, 4]);
  expect(scale(lane([0], {}, () => 1))[0]).toBe(0);
  expect(scale(lane([30, 35], { unit: "°C" }))[0]).toBeGreaterThan(20);
});

test("ticks are round and few", () => {
  expect(ticks(0, 112)).toEqual([0, 50, 100]);
  expect(ticks(28, 41.5)).toEqual([30, 35, 40]);
  expect(ticks(0, 0.34)).toEqual([0, 0.2]);
  expect(ticks(-5, 5)).toEqual([-5, 0, 5]);
  expect(ticks(0, 260_000).length).toBeLessThanOrEqual(3);
});

test("a narrow axis has fewer times", () => {
  const day: [number, number] = [at(0), at(1440)];
  expect(steps(...day, 12).length).toBeGreaterThan(8);
  expect(steps(...day, 4).length).toBeLessThanOrEqual(4);
});
