/** Colours of the theme for canvases, which cannot name tokens. */

import type { State } from "./types";

export type Colours = Record<string, string>;

const TOKENS = ["bg", "panel", "sunk", "line", "line2", "ink", "ink2", "ink3", "data", "ok", "warn", "warn-ink", "warn-soft", "warn-line", "crit", "on-crit", "crit-ink", "crit-soft", "silent", "silent-ink", "heat0", "heat1", "band", "spread"];

/** The tokens as they are now: the theme may have changed. */
export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(TOKENS.map((token) => [token.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()), style.getPropertyValue(`--${token}`).trim()]));
}

export function colourOf(state: State, colours: Colours): string {
  const names: Record<State, string> = { ok: "ok", asleep: "ok", warning: "warn", critical: "crit", silent: "silent", unknown: "silent" };
  return colours[names[state]] ?? "";
}

export function inkOf(state: State, colours: Colours): string {
  const names: Record<State, string> = { ok: "ink2", asleep: "ink2", warning: "warnInk", critical: "critInk", silent: "silentInk", unknown: "silentInk" };
  return colours[names[state]] ?? "";
}

/** Mixes two colours, given as `#rrggbb`. */
export function mix(from: string, to: string, share: number): string {
  const part = (hex: string, at: number) => parseInt(hex.slice(1 + 2 * at, 3 + 2 * at), 16);
  const s = Math.max(0, Math.min(1, share));
  return `rgb(${[0, 1, 2].map((at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * s)).join(" ")})`;
}
