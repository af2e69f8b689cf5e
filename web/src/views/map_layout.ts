/** Places of groups and cells in the map (design page, section 5). Pure. */

export type Density = "tile" | "bay" | "small" | "dot";

export interface Box { x: number; y: number; width: number; height: number }

export interface Cell extends Box {
  /** Index of the device in the fleet. */
  device: number;
  group: number;
}

export interface GroupBox extends Box {
  name: string;
  members: number[];
  headHeight: number;
}

export interface Layout {
  density: Density;
  groups: GroupBox[];
  /** In reading order: group by group. */
  cells: Cell[];
  height: number;
}

interface Measures { perRow: number; gapX: number; gapY: number; pad: number; head: number; gap: number; cellHeight: number; maxCell: number; minCell: number }

/** Bays stand six to a row, since 24 are 4 × 6. */
const PER_ROW = 6;
/** Least width of a group that shares a slot: its title needs it. */
const MIN_SHARED = 96;
/** Members from which on a group fills a row of its own, as many to a line as fit. */
const WIDE_GROUP = 96;
const MEASURES: Record<Exclude<Density, "tile">, Measures> = {
  bay: { perRow: 2, gapX: 18, gapY: 18, pad: 12, head: 34, gap: 4, cellHeight: 30, maxCell: 96, minCell: 40 },
  small: { perRow: 5, gapX: 12, gapY: 12, pad: 10, head: 30, gap: 3, cellHeight: 22, maxCell: 24, minCell: 20 },
  dot: { perRow: 0, gapX: 22, gapY: 14, pad: 0, head: 16, gap: 0, cellHeight: 10, maxCell: 10, minCell: 10 },
};

export function density(shown: number): Density {
  return shown <= 24 ? "tile" : shown <= 240 ? "bay" : shown <= 1200 ? "small" : "dot";
}

export function layout(groups: { name: string; members: number[] }[], width: number, kind: Density, isPhone = false): Layout {
  return kind === "tile" ? tiles(groups, width, isPhone) : boxes(groups, width, kind, isPhone);
}

function tiles(groups: { name: string; members: number[] }[], width: number, isPhone: boolean): Layout {
  const perRow = isPhone ? 1 : width > 1500 ? 5 : width > 620 ? 3 : 2;
  const [gap, height] = [12, 98];
  const cellWidth = (width - gap * (perRow - 1)) / perRow;
  const cells: Cell[] = [];
  const boxes: GroupBox[] = [];
  let y = 0;
  const isNamed = groups.length > 1;
  groups.forEach((group, index) => {
    const head = isNamed ? 28 : 0;
    const rows = Math.ceil(group.members.length / perRow);
    group.members.forEach((device, at) => cells.push({
      device, group: index, x: (at % perRow) * (cellWidth + gap), y: y + head + Math.floor(at / perRow) * (height + gap), width: cellWidth, height,
    }));
    const total = head + rows * (height + gap);
    boxes.push({ ...group, x: 0, y, width, height: total - gap, headHeight: head });
    y += total + (isNamed ? 6 : 0);
  });
  return { density: "tile", groups: boxes, cells, height: Math.max(0, y - gap) };
}

function boxes(groups: { name: string; members: number[] }[], width: number, kind: Exclude<Density, "tile">, isPhone: boolean): Layout {
  const m = MEASURES[kind];
  const cellHeight = isPhone && kind === "bay" ? 36 : m.cellHeight;
  const perRow = slotsPerRow(kind, width, isPhone);
  const slotWidth = kind === "dot" ? 58 : (width - m.gapX * (perRow - 1)) / perRow;
  const result: Layout = { density: kind, groups: [], cells: [], height: 0 };
  let [column, y, rowHeight] = [0, 0, 0];
  const wrap = () => { if (column > 0) { y += rowHeight + m.gapY; column = 0; rowHeight = 0; } };
  const place = (group: { name: string; members: number[] }, x: number, boxWidth: number, columns: number) => {
    const pitch = kind === "dot" ? m.cellHeight : (boxWidth - 2 * m.pad + m.gap) / columns;
    const cellWidth = Math.min(m.maxCell, pitch - m.gap);
    const lines = Math.ceil(group.members.length / columns);
    const box: GroupBox = { ...group, x, y, width: boxWidth, height: m.head + lines * (cellHeight + m.gap) - m.gap + m.pad, headHeight: m.head };
    const at = result.groups.push(box) - 1;
    group.members.forEach((device, index) => result.cells.push({
      device, group: at, width: cellWidth, height: cellHeight,
      x: x + m.pad + (index % columns) * pitch + (pitch - m.gap - cellWidth) / 2, y: y + m.head + Math.floor(index / columns) * (cellHeight + m.gap),
    }));
    rowHeight = Math.max(rowHeight, box.height);
  };
  const queue = [...groups];
  for (let group = queue.shift(); group; group = queue.shift()) {
    if (group.members.length > WIDE_GROUP) {
      wrap();
      const columns = Math.max(PER_ROW, Math.floor((width - 2 * m.pad + m.gap) / ((kind === "bay" ? 64 : m.maxCell) + m.gap)));
      place(group, 0, width, columns);
      column = 1;
      wrap();
      continue;
    }
    const x = column * (slotWidth + m.gapX);
    const sharing = kind === "bay" ? takeSmall(group, queue) : [group];
    const members = sharing.reduce((sum, each) => sum + each.members.length, 0);
    if (sharing.length === 1) place(group, x, slotWidth, PER_ROW);
    else {
      const inner = slotWidth - (sharing.length - 1) * m.gapX - sharing.length * MIN_SHARED;
      let left = x;
      for (const each of sharing) {
        const own = (inner * each.members.length) / members + MIN_SHARED;
        place(each, left, own, each.members.length);
        left += own + m.gapX;
      }
    }
    column += 1;
    if (column >= perRow) wrap();
  }
  wrap();
  result.height = Math.max(0, y - m.gapY);
  return result;
}

/** Takes the next groups as long as all of them together have at most six cells, so that they share a slot. */
function takeSmall(first: { name: string; members: number[] }, queue: { name: string; members: number[] }[]): { name: string; members: number[] }[] {
  const taken = [first];
  let n = first.members.length;
  for (let next = queue[0]; next && n + next.members.length <= PER_ROW && taken.length < 3; next = queue[0]) {
    taken.push(next);
    n += next.members.length;
    queue.shift();
  }
  return taken;
}

function slotsPerRow(kind: Exclude<Density, "tile">, width: number, isPhone: boolean): number {
  if (kind === "dot") return Math.max(1, Math.floor((width + 22) / 80));
  if (isPhone) return kind === "bay" ? 1 : 2;
  return kind === "bay" ? (width < 560 ? 1 : Math.max(2, Math.floor(width / 700))) : Math.max(2, Math.min(8, Math.floor(width / 172)));
}

/** Returns the cell at a point. */
export function hit(layout: Layout, x: number, y: number): Cell | undefined {
  const margin = layout.density === "dot" ? 1 : 0;
  return layout.cells.find((cell) => x >= cell.x - margin && x < cell.x + cell.width + margin && y >= cell.y - margin && y < cell.y + cell.height + margin);
}

/** Returns the next cell in a direction: the nearest whose centre lies there, straight ahead before aside. */
export function neighbour(layout: Layout, from: Cell, dx: number, dy: number): Cell | undefined {
  const [cx, cy] = [from.x + from.width / 2, from.y + from.height / 2];
  let [best, least] = [undefined as Cell | undefined, Infinity];
  for (const cell of layout.cells) {
    const [x, y] = [cell.x + cell.width / 2 - cx, cell.y + cell.height / 2 - cy];
    const ahead = dx !== 0 ? x * dx : y * dy;
    const aside = Math.abs(dx !== 0 ? y : x);
    if (ahead <= 1) continue;
    const distance = ahead + 4 * aside;
    if (distance < least) [best, least] = [cell, distance];
  }
  return best;
}

/** Cuts the start that all names share: "enclosure-001" and "enclosure-002" become "001" and "002". */
export function commonPrefix(names: string[]): number {
  const [first = "", ...rest] = names;
  let length = rest.length === 0 ? 0 : first.length;
  for (const name of rest) while (length > 0 && !name.startsWith(first.slice(0, length))) length -= 1;
  // Never within a number or a word.
  while (length > 0 && /[A-Za-z0-9]/.test(first.charAt(length - 1))) length -= 1;
  return length;
}
