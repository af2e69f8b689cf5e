/** The search for devices. Pure. */

import type { Fleet } from "./fleet_model";

/** Devices that have every word in their name, serial number, model or place; the best match first, worst first among
 * equals. Without a text those that need attention. */
export function search(fleet: Fleet, text: string, serial: (index: number) => string | undefined): number[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return fleet.needy();
  const parts = wanted.split(/\s+/);
  const about = (index: number) => [fleet.device(index), fleet.place(index), fleet.label(index, "model"), fleet.label(index, "host"), serial(index)].join(" ").toLowerCase();
  // "bay 1" is rather bay 1 than bay 17.
  const isWhole = (all: string) => { const at = all.indexOf(wanted); return at >= 0 && !/[a-z0-9]/.test(all.charAt(at + wanted.length)); };
  const rank = (index: number) => {
    const [name, all] = [fleet.device(index).toLowerCase(), about(index)];
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : isWhole(all) ? 3 : all.includes(wanted) ? 4 : 5;
  };
  const found = fleet.all().flatMap((index) => { const all = about(index); return parts.every((part) => all.includes(part)) ? [{ index, rank: rank(index) }] : []; });
  return found.sort((a, b) => a.rank - b.rank || fleet.compareByState(a.index, b.index)).map((each) => each.index);
}
