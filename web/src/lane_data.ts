/** What a lane draws, from the buckets of its metric. Pure. */

import type { Bucket, State } from "./types";
import * as words from "./words";

export interface Lane {
  key: string;
  title: string;
  state: State;
  unit: string | null;
  buckets: Bucket[];
  bucketSeconds: number;
  /** Expected range in each bucket; `null` where nothing is known. */
  expected: ([number, number] | null)[];
  /** Stretches out of the expected range, in ms. */
  flagged: [number, number][];
  /** Limits of the metric table, with their words. */
  limits: { value: number; word: string }[];
  /** The device is silent: the end of the plot is hatched. */
  silentSince: number;
  isCounter: boolean;
}

export interface Axis {
  from: number;
  until: number;
  /** Times of critical events, in ms. */
  marks: number[];
}

type Column = (number | null)[];
type Stretch = [number, number];

export interface Columns {
  /** Seconds, as uPlot takes them. */
  xs: number[];
  value: Column;
  min: Column;
  max: Column;
  flagged: Column;
  low: Column;
  high: Column;
  /** Index of the bucket behind each column; -1 in a gap. */
  bucket: number[];
}

/** Buckets that may be missing before it is a gap, or usual distances between two values. */
const GAP = 3.5;

/** The value that stands for a bucket: of a counter its last, which is its largest. */
export function valueOf(bucket: Bucket, isCounter: boolean): number { return isCounter ? bucket.max : bucket.mean; }

/** Longest distance between two buckets that is no gap, in ms: a device may send more seldom than a bucket lasts. */
export function longestStep(buckets: Bucket[], bucketSeconds: number): number {
  const times = buckets.map((bucket) => words.millis(bucket.time));
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? time)).sort((a, b) => a - b);
  return GAP * Math.max(bucketSeconds * 1000, steps[Math.floor(steps.length / 2)] ?? 0);
}

/** Times without values between values, and from the last one to the end of the axis. */
export function gaps(lane: Lane, until: number): Stretch[] {
  const most = longestStep(lane.buckets, lane.bucketSeconds);
  const times = lane.buckets.map((bucket) => words.millis(bucket.time));
  const length = lane.bucketSeconds * 1000;
  const found = times.slice(1).flatMap((time, index): Stretch[] => (time - (times[index] ?? time) > most ? [[(times[index] ?? time) + length, time]] : []));
  const last = times[times.length - 1];
  if (!Number.isNaN(lane.silentSince)) found.push([lane.silentSince, until]);
  else if (last !== undefined && until - last - length > most) found.push([last + length, until]);
  return found;
}

/** Columns of the plot: a gap breaks the line. */
export function columns(lane: Lane): Columns {
  const { buckets, bucketSeconds, expected, flagged, isCounter } = lane;
  const result: Columns = { xs: [], value: [], min: [], max: [], flagged: [], low: [], high: [], bucket: [] };
  const push = (x: number, index: number, ...values: Column) => {
    result.xs.push(x);
    result.bucket.push(index);
    (["value", "min", "max", "flagged", "low", "high"] as const).forEach((key, at) => result[key].push(values[at] ?? null));
  };
  const most = longestStep(buckets, bucketSeconds) / 1000;
  let before = NaN;
  buckets.forEach((bucket, index) => {
    const at = words.millis(bucket.time) / 1000;
    if (at - before > most) push(before + bucketSeconds, -1);
    const value = valueOf(bucket, isCounter);
    const isFlagged = flagged.some(([from, until]) => (at + bucketSeconds) * 1000 > from && at * 1000 <= until);
    push(at, index, value, bucket.min, bucket.max, isFlagged ? value : null, expected[index]?.[0] ?? null, expected[index]?.[1] ?? null);
    before = at;
  });
  return result;
}

/** Joins stretches that overlap, or lie closer than `near` ms. */
export function join(stretches: Stretch[], near: number): Stretch[] {
  const result: Stretch[] = [];
  for (const [from, until] of [...stretches].sort((a, b) => a[0] - b[0])) {
    const last = result[result.length - 1];
    if (last && from - last[1] <= near) last[1] = Math.max(last[1], until); else result.push([from, until]);
  }
  return result;
}

/** An expected range of what is never below zero; `null` where the range lies below it altogether. */
export function atLeastZero(band: [number, number] | null): [number, number] | null {
  return band === null || band[1] < 0 ? null : [Math.max(0, band[0]), band[1]];
}

/** Ends of the y axis. A band that reaches far beyond the values does not flatten them. */
export function scale(lane: Lane): [number, number] {
  const { buckets, expected, unit } = lane;
  if (buckets.length === 0) return [0, 1];
  const low = Math.min(...buckets.map((bucket) => bucket.min));
  const high = Math.max(...buckets.map((bucket) => bucket.max));
  const room = Math.max(high - low, Math.abs(high) * 0.1, 1e-9);
  const bands = expected.filter((band): band is [number, number] => band !== null);
  const bottom = Math.max(Math.min(low, ...bands.map((band) => band[0])), low - room);
  const top = Math.min(Math.max(high, ...bands.map((band) => band[1])), high + room);
  const isFromZero = unit !== "°C" && bottom >= 0;
  const margin = Math.max((top - (isFromZero ? 0 : bottom)) * 0.1, 1e-9);
  if (isFromZero && top === 0) return [0, 1];
  return [isFromZero ? 0 : bottom - margin, top + margin];
}

/** Round ticks, at most `most`. */
export function ticks(low: number, high: number, most = 3): number[] {
  const power = 10 ** Math.floor(Math.log10(Math.max(high - low, 1e-12)));
  const candidates = [0.1, 0.2, 0.5, 1, 2, 5, 10].map((factor) => factor * power);
  const within = (step: number) => Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  const step = candidates.find((each) => within(each) <= most) ?? power * 10;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, within(step)) }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Round times on the axis, at most `most`. */
export function steps(from: number, until: number, most = 12): number[] {
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14_400, 43_200, 86_400, 259_200, 525_600];
  const step = (minutes.find((each) => (until - from) / (each * 60_000) <= most) ?? 525_600) * 60_000;
  const day = new Date(from);
  day.setHours(0, 0, 0, 0);
  const result = [];
  for (let at = day.getTime(); at < until; at += step) if (at > from + step * 0.2) result.push(at);
  return result;
}

/** Shortest range to zoom to, in ms. */
const SHORTEST_MS = 60_000;

/** Range around a place (0 to 1) of an axis, longer by a factor. */
export function zoomed({ from, until }: Axis, place: number, factor: number): [number, number] {
  const length = Math.max(SHORTEST_MS, (until - from) * factor);
  const fixed = from + place * (until - from);
  return [fixed - place * length, fixed + (1 - place) * length];
}
