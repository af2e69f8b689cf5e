/** What all views share: the place, the last answers, and who wants to hear of changes. */

import * as api from "./api";
import type { Place, Range } from "./address";
import { DEFAULT_MINUTES, format, parse } from "./address";
import { Fleet } from "./fleet_model";
import type { FleetAnswer, Incident } from "./types";

export interface View {
  element: HTMLElement;
  /** New place of the same view. */
  move?(place: Place): void;
  /** New fleet or incidents. */
  update?(): void;
  /** Events came that the stream does not carry, or while nobody looked. */
  missed?(): void;
  /** New events came. */
  events?(rows: unknown[]): void;
  /** One second has passed. */
  tick?(): void;
  key?(event: KeyboardEvent): boolean;
  close?(): void;
}

/** Devices from which on the map has no room for values. */
const LARGE = 240;
/** Metrics that the page shows of every device. */
export const SHOWN_METRICS = ["DiskTemp", "Latency", "IOPs", "CapacityUsed"];

class App {
  place: Place = parse(location.pathname, location.search);
  fleet: Fleet | null = null;
  incidents: Incident[] = [];
  /** Reason why the newest question about the fleet failed. */
  failure: api.AnswerError | null = null;
  /** Time of the newest answer about the fleet, in ms of this clock: what is seen is as old as that. */
  heard = 0;
  isPaused = false;
  /** Range that ends now, to which a zoom leads back. */
  home: Range = "minutes" in this.place.range ? this.place.range : { minutes: DEFAULT_MINUTES };
  private listeners = new Set<() => void>();
  private loading: Promise<void> | null = null;

  subscribe(listener: () => void): void { this.listeners.add(listener); }
  notify(): void {
    if ("minutes" in this.place.range) this.home = this.place.range;
    for (const listener of this.listeners) listener();
  }

  /** Changes the place; a choice is an entry of the history, a drag or typing replaces it. */
  go(change: Partial<Place>, how: "push" | "replace" = "push"): void {
    const place = { ...this.place, ...change };
    const address = format(place);
    if (address === location.pathname + location.search) return;
    history[how === "push" ? "pushState" : "replaceState"](null, "", address);
    this.place = place;
    this.notify();
  }

  option(key: string, text: string, how: "push" | "replace" = "push"): void {
    const { [key]: _, ...options } = this.place.options;
    this.go({ options: text === "" ? options : { ...options, [key]: text } }, how);
  }

  /** Gets fleet and incidents; calls at the same time share one answer. */
  load(): Promise<void> {
    this.loading ??= this.loadOnce().finally(() => { this.loading = null; });
    return this.loading;
  }

  private async loadOnce(): Promise<void> {
    try {
      const colour = this.place.options.colour;
      // A map of many devices shows no values unless it is coloured by one; each metric of 10,000 devices is 20 kB.
      const isMap = this.place.view === "fleet" && this.place.options.view !== "table";
      const shown = isMap && (this.fleet?.size ?? 0) > LARGE ? [] : SHOWN_METRICS;
      const metrics = [...new Set([...shown, ...(colour ? [colour] : [])])];
      const [fleet, incidents] = await Promise.all([
        api.ask<FleetAnswer>("fleet", { names: "front_coded", ...(metrics.length > 0 ? { metric_types: metrics.join(",") } : {}) }),
        api.ask<{ data: Incident[] }>("incidents", { state: "any", limit: 200 }),
      ]);
      this.fleet = new Fleet(fleet);
      this.incidents = incidents.data;
      this.failure = null;
      this.heard = Date.now();
    } catch (error) {
      this.failure = error instanceof api.AnswerError ? error : new api.AnswerError(0, String(error));
    }
    this.notify();
  }
}

export const app = new App();
