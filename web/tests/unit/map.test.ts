import { expect, test } from "vitest";
import { commonPrefix, density, hit, layout, neighbour } from "../../src/views/map_layout";

const groups = (n: number, size: number) => Array.from({ length: n }, (_, g) => ({ name: `enclosure-${String(g + 1).padStart(2, "0")}`, members: Array.from({ length: size }, (_, i) => g * size + i) }));

test.each([[1, 12, 900], [4, 24, 880], [25, 24, 900], [417, 24, 900], [3, 60, 600], [1, 3000, 900], [5, 12, 360]])("no cells overlap and all lie inside: %i groups of %i in %i px", (n, size, width) => {
  const kind = density(n * size);
  const made = layout(groups(n, size), width, kind, width < 400);
  expect(made.cells).toHaveLength(n * size);
  const seen = new Set<string>();
  for (const cell of made.cells) {
    expect(cell.x).toBeGreaterThanOrEqual(-0.01);
    expect(cell.x + cell.width).toBeLessThanOrEqual(width + 0.01);
    expect(cell.y + cell.height).toBeLessThanOrEqual(made.height + 0.01);
    const key = `${Math.round(cell.x)} ${Math.round(cell.y)}`;
    expect(seen.has(key)).toBe(false);
    seen.add(key);
  }
  const middle = made.cells[Math.floor(made.cells.length / 2)];
  if (!middle) throw new Error("no cell");
  expect(hit(made, middle.x + middle.width / 2, middle.y + middle.height / 2)).toBe(middle);
});

test("24 bays are four rows of six", () => {
  const made = layout(groups(2, 24), 880, "bay");
  expect(new Set(made.cells.filter((cell) => cell.group === 0).map((cell) => cell.y)).size).toBe(4);
  expect(made.groups.map((group) => group.y)).toEqual([0, 0]);
});

test("arrows go to the next cell, also into the next group", () => {
  const made = layout(groups(2, 24), 880, "bay");
  const [first] = made.cells;
  if (!first) throw new Error("no cell");
  expect(neighbour(made, first, 1, 0)).toBe(made.cells[1]);
  expect(neighbour(made, first, 0, 1)).toBe(made.cells[6]);
  expect(neighbour(made, first, -1, 0)).toBeUndefined();
  const last = made.cells[5];
  if (last) expect(neighbour(made, last, 1, 0)?.group).toBe(1);
});

test("the common start of names ends at a word", () => {
  expect([commonPrefix(["enclosure-001", "enclosure-002"]), commonPrefix(["a"]), commonPrefix(["DiskUnit-0041", "DiskUnit-0042"]), commonPrefix(["x1", "y1"])]).toEqual([10, 0, 9, 0]);
});
