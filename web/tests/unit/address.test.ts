import { expect, test } from "vitest";
import { format, parse, rangeWord, span } from "../../src/address";

const round = (address: string) => { const [path = "", search = ""] = address.split("?"); return format(parse(path, search)); };

test("an address that was written is read back", () => {
  for (const address of ["/", "/?t=1h&state=critical", "/device/vm%3Asda?t=15m", "/device/a%2Fb", "/events?type=SlowReads&min=8", "/pipeline", "/ask/fleet_health?health=all&limit=5", "/?from=2026-11-29T00%3A00%3A00.000Z&to=2026-11-30T00%3A00%3A00.000Z"]) expect(round(address)).toBe(address);
});

test("what is not understood is the default", () => {
  expect(round("/nowhere?t=7x&from=x&to=y&evil=1")).toBe("/");
  expect(round("/?from=2026-11-30T00:00:00Z&to=2026-11-29T00:00:00Z")).toBe("/");
  expect(parse("/device/%E0%A4%A", "").subject).toBe("%E0%A4%A");
});

test("a relative range ends now", () => {
  expect(span(parse("/", "t=1h").range, 7_200_000)).toEqual({ from: 3_600_000, until: 7_200_000 });
});

test("a fixed range says its day once", () => {
  const word = (from: string, until: string) => rangeWord({ from: 0, until: 1 }, (at) => (at === 0 ? from : until));
  expect(word("29 Nov 10:00", "29 Nov 12:00")).toBe("29 Nov 10:00 to 12:00");
  expect(word("yesterday 23:00", "01:00")).toBe("yesterday 23:00 to 01:00");
  expect(word("28 Nov 10:00", "29 Nov 12:00")).toBe("28 Nov 10:00 to 29 Nov 12:00");
  expect(word("29 Nov 2024", "29 Nov 2025")).toBe("29 Nov 2024 to 29 Nov 2025");
});

test("a question says its time in its fields, not as the range of the page", () => {
  const place = { view: "ask" as const, subject: "events", options: { since_minutes: "5" }, range: { from: 0, until: 60_000 } };
  expect(format(place)).toBe("/ask/events?since_minutes=5");
});
