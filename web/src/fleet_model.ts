/** The fleet as the page knows it: columns of the last answer, with what the views ask of them. */

import * as words from "./words";
import type { FleetAnswer, FleetColumns, State } from "./types";

export interface Trouble {
  score: number | null;
  since: number;
  reason: string;
  advice: string | null;
  acknowledged: boolean;
}

export const NO_GROUP = "\u0000";

/** Names of the devices, also if each is given as what differs from the one before. */
export function namesOf(columns: Pick<FleetColumns, "device" | "device_front_coded">): string[] {
  const { device, device_front_coded: coded } = columns;
  if (device || !coded) return device ?? [];
  let before = "";
  return coded.rest.map((rest, index) => {
    const shared = coded.shared[index] ?? 0;
    // Characters, which are two units each beyond the first 65,536.
    const head = /[\ud800-\udfff]/.test(before) ? [...before].slice(0, shared).join("") : before.slice(0, shared);
    return (before = head + rest);
  });
}

export class Fleet {
  readonly size: number;
  /** Time as of which the answer holds, in ms. */
  readonly until: number;
  private readonly columns: FleetColumns;
  private readonly names: string[];
  private readonly troubles = new Map<number, Trouble>();
  private readonly byName = new Map<string, number>();

  constructor(answer: FleetAnswer) {
    this.columns = answer.data;
    this.names = namesOf(answer.data);
    this.size = this.names.length;
    this.until = words.millis(answer.basis.until);
    this.names.forEach((device, index) => this.byName.set(device, index));
    const { index, score, since, reason, advice, acknowledged } = answer.data.not_ok;
    index.forEach((device, row) => this.troubles.set(device, {
      score: score[row] ?? null, since: words.millis(since[row]), reason: words.reason(reason[row] ?? "", this.until), advice: advice[row] ?? null,
      acknowledged: acknowledged[row] ?? false,
    }));
  }

  find(name: string): number | undefined { return this.byName.get(name); }
  device(index: number): string { return this.names[index] ?? ""; }
  state(index: number): State { return this.columns.states[this.columns.state[index] ?? 0] ?? "unknown"; }
  trouble(index: number): Trouble | undefined { return this.troubles.get(index); }
  heard(index: number): number | null { return this.columns.heard_seconds[index] ?? null; }

  label(index: number, key: string): string | undefined {
    const column = this.columns.labels[key];
    const at = column?.index[index] ?? -1;
    return at < 0 ? undefined : column?.names[at];
  }

  labelKeys(): string[] { return Object.keys(this.columns.labels).sort(); }
  metricTypes(): string[] { return Object.keys(this.columns.metrics); }
  unit(metric: string): string | null { return this.columns.metrics[metric]?.unit ?? null; }
  value(index: number, metric: string): number | null { return this.columns.metrics[metric]?.values[index] ?? null; }
  isSilent(index: number): boolean { return this.state(index) === "silent"; }

  place(index: number): string {
    return words.place({ enclosure: this.label(index, "enclosure"), bay: this.label(index, "bay"), host: this.label(index, "host") });
  }

  /** What a sentence calls the device. */
  noun(index: number): string {
    return NOUNS[this.label(index, "class") ?? ""] ?? "device";
  }

  count(state: State): number {
    const at = this.columns.states.indexOf(state);
    return at < 0 ? 0 : this.columns.state.reduce((sum, each) => sum + (each === at ? 1 : 0), 0);
  }

  all(): number[] { return Array.from({ length: this.size }, (_, index) => index); }

  /** Devices that are neither well nor asleep, worst first. */
  needy(): number[] {
    return [...this.troubles.keys()].filter((index) => !["ok", "asleep"].includes(this.state(index))).sort((a, b) => this.compareByState(a, b));
  }

  compareByState(a: number, b: number): number {
    const rank = (index: number) => RANK[this.state(index)];
    const score = (index: number) => this.trouble(index)?.score ?? 101;
    return rank(a) - rank(b) || score(a) - score(b) || compareNames(this.device(a), this.device(b));
  }

  compareByPlace(a: number, b: number): number {
    return compareNames(this.label(a, "bay") ?? this.device(a), this.label(b, "bay") ?? this.device(b)) || compareNames(this.device(a), this.device(b));
  }

  /** Groups by a label; devices without it come last. */
  groups(key: string, shown: number[]): { name: string; members: number[] }[] {
    const groups = new Map<string, number[]>();
    for (const index of shown) {
      const group = key === "none" ? "" : this.label(index, key) ?? this.label(index, "class") ?? NO_GROUP;
      const members = groups.get(group);
      if (members) members.push(index); else groups.set(group, [index]);
    }
    return [...groups].map(([name, members]) => ({ name, members }))
      .sort((a, b) => Number(a.name === NO_GROUP) - Number(b.name === NO_GROUP) || compareNames(a.name, b.name));
  }
}

const NOUNS: Record<string, string> = { DiskUnit: "drive", StorageArray: "array", CloudStorage: "gateway", BlockDevice: "drive", FileSystem: "file system", disk: "drive", hdd: "drive", ssd: "drive", nvme: "drive", drive: "drive", array: "array" };
const RANK: Record<State, number> = { critical: 0, warning: 1, silent: 2, unknown: 3, asleep: 4, ok: 5 };
const collator = new Intl.Collator("en", { numeric: true });
const compareNames = (a: string, b: string) => collator.compare(a, b);
