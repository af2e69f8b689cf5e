import { expect, test } from "vitest";
import { namesOf } from "../../src/fleet_model";

/** Codes names as the server does, by characters. */
function coded(names: string[]): { shared: number[]; rest: string[] } {
  let before: string[] = [];
  const [shared, rest]: [number[], string[]] = [[], []];
  for (const name of names) {
    const characters = [...name];
    let n = 0;
    while (n < characters.length && characters[n] === before[n]) n += 1;
    shared.push(n);
    rest.push(characters.slice(n).join(""));
    before = characters;
  }
  return { shared, rest };
}

test("front coded names are read back", () => {
  for (const names of [[], ["a"], ["DiskUnit-0001", "DiskUnit-0002", "DiskUnit-0010", "x"], ["aé1", "aé2", "b"], ["disk-😀1", "disk-😀2", "disk-😃", "disk-😃9"], ["\u202eabc", "\u202eabd"]]) {
    expect(namesOf({ device_front_coded: coded(names) })).toEqual(names);
  }
  expect(namesOf({ device: ["b", "a"] })).toEqual(["b", "a"]);
  expect(namesOf({})).toEqual([]);
});
