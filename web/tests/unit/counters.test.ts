import { expect, test } from "vitest";
import { quantile, rate, read, sum } from "../../src/counters";

const text = (stored: number, fast: number, slow: number) => `# HELP x\nstored_total{kind="event"} 1\nstored_total{kind="metric"} ${stored}\nwrite_bucket{le="0.001"} ${fast}\nwrite_bucket{le="0.1"} ${fast + slow}\nwrite_bucket{le="+Inf"} ${fast + slow}\n`;

test("sums and rates of counters", () => {
  const [before, after] = [read(text(100, 0, 0), 0), read(text(300, 98, 2), 2000)];
  expect([sum(after, "stored_total"), sum(after, "stored_total", 'kind="metric"'), sum(after, "other")]).toEqual([301, 300, null]);
  expect([rate(before, after, "stored_total", 'kind="metric"'), rate(after, before, "stored_total")]).toEqual([100, null]);
  expect([quantile(before, after, "write", 0.5), quantile(before, after, "write", 0.99), quantile(after, after, "write", 0.5)]).toEqual([0.001, 0.1, null]);
});
