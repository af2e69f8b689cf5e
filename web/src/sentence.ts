/** The verdict in words (design page, section 4). Pure. */

import type { Fleet } from "./fleet_model";
import type { Incident, State } from "./types";
import * as words from "./words";

export interface Verdict {
  state: State;
  title: string;
  /** Start of the worst state in ms, or `NaN`. */
  since: number;
  advice: string | null;
  rest: string;
}

/** Fewest failing devices of one group that the sentence names. */
const GROUP_MIN = 3;

export function ofFleet(fleet: Fleet, incidents: Incident[]): Verdict {
  const needy = fleet.needy();
  const of = (state: State) => needy.filter((index) => fleet.state(index) === state);
  const [critical, warning, silent, unknown] = [of("critical"), of("warning"), of("silent"), of("unknown")];
  const open = incidents.filter((each) => each.state !== "closed");
  const noun = commonNoun(fleet, fleet.all());
  if (critical.length > 0) {
    const rest = [
      warning.length > 0 && `${words.counted(warning.length, "more thing")} ${warning.length === 1 ? "needs" : "need"} a look`,
      isAre(silent.length, "silent"), isAre(unknown.length, "not understood"),
    ];
    return { state: "critical", title: failing(fleet, critical), since: earliest(fleet, critical), advice: adviceOf(fleet, open, critical), rest: sentence(rest) };
  }
  if (warning.length > 0) {
    const only = warning.length === 1 ? warning[0] : undefined;
    const title = only !== undefined ? `One thing needs a look: ${words.name(fleet.device(only))}` : `${words.capital(words.count(warning.length))} devices need a look`;
    return { state: "warning", title, since: earliest(fleet, warning), advice: adviceOf(fleet, open, warning), rest: sentence([isAre(silent.length, "silent"), isAre(unknown.length, "not understood")]) };
  }
  if (silent.length > 0) {
    return { state: "silent", title: words.capital(isAre(silent.length, "silent") || ""), since: earliest(fleet, silent), advice: adviceOf(fleet, open, silent), rest: sentence([isAre(unknown.length, "not understood")]) };
  }
  if (unknown.length > 0) {
    const title = `Nothing is known about ${words.counted(unknown.length, "device")}`;
    return { state: "unknown", title, since: earliest(fleet, unknown), advice: adviceOf(fleet, open, unknown), rest: "" };
  }
  const asleep = fleet.count("asleep");
  const title = fleet.size === 1 ? `The only ${noun} is well` : `All ${words.whole(fleet.size)} ${words.plural(noun)} are well`;
  return { state: "ok", title, since: NaN, advice: null, rest: sentence([isAre(asleep, "asleep")]) };
}

function failing(fleet: Fleet, critical: number[]): string {
  const noun = commonNoun(fleet, critical);
  const only = critical.length === 1 ? critical[0] : undefined;
  if (only !== undefined) {
    const place = fleet.label(only, "bay") ? fleet.place(only) : words.name(fleet.device(only));
    return `One ${noun} is failing: ${place}`;
  }
  const groups = new Map<string, number>();
  for (const index of critical) {
    const group = fleet.label(index, "enclosure");
    if (group) groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const [worst] = [...groups].sort((a, b) => b[1] - a[1]);
  const start = `${words.capital(words.count(critical.length))} ${words.plural(noun)} are failing`;
  if (!worst || worst[1] < GROUP_MIN) return start;
  return worst[1] === critical.length ? `${start}, all in ${words.name(worst[0])}` : `${start}, ${words.count(worst[1])} of them in ${words.name(worst[0])}`;
}

function commonNoun(fleet: Fleet, indices: number[]): string {
  const nouns = new Set(indices.map((index) => fleet.noun(index)));
  const [only] = nouns;
  return nouns.size === 1 && only ? only : "device";
}

function earliest(fleet: Fleet, indices: number[]): number {
  const known = indices.map((index) => fleet.trouble(index)?.since ?? NaN).filter((since) => !Number.isNaN(since));
  return known.length === 0 ? NaN : Math.min(...known);
}

/** Advice of the worst open incident about one of the devices, else of the worst device. */
function adviceOf(fleet: Fleet, open: Incident[], indices: number[]): string | null {
  const names = new Set(indices.map((index) => fleet.device(index)));
  const incident = open.find((each) => each.advice && each.devices.some((device) => names.has(device)));
  return incident?.advice ?? indices.map((index) => fleet.trouble(index)?.advice).find(Boolean) ?? null;
}

function isAre(n: number, word: string): string | false {
  return n > 0 && `${words.counted(n, "device")} ${n === 1 ? "is" : "are"} ${word}`;
}

function sentence(parts: (string | false)[]): string {
  const present = parts.filter((part): part is string => part !== false);
  return present.length === 0 ? "" : `${words.capital(present.join("; "))}.`;
}
