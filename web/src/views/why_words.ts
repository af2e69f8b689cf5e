/** The words of the findings on a device. Pure. */

import type { Reason } from "../types";
import * as words from "../words";

/** The line of what is as expected: what is not known is not named. */
export function asExpected(metrics: string[]): string {
  const [first, ...rest] = metrics.slice(0, 3).map((metric) => { const name = words.metric(metric); return /^[A-Z]{2}/.test(name) ? name : name.charAt(0).toLowerCase() + name.slice(1); });
  if (first === undefined) return "";
  const more = metrics.length - 3;
  const last = more > 0 ? `${more} more` : rest.pop();
  return `As expected: ${[first, ...rest].join(", ")}${last === undefined ? "" : ` and ${last}`}.`;
}

/** What stands against a finding: of a value its limit, its trend and what it means; of an event its message. */
export function against(reason: Reason, isMetric: boolean, now: number): { detail: string; meaning: string } {
  const whole = words.reason(reason.why, now);
  if (!isMetric) return { detail: whole, meaning: "" };
  const detail = [reason.expected, reason.trend].filter(Boolean).join("; ");
  // The rest of it is the value and the limit, which stand beside it.
  const colon = whole.indexOf(": ");
  return detail === "" ? { detail: whole, meaning: "" } : { detail: words.name(detail), meaning: colon > 0 ? whole.slice(0, colon) : whole };
}
