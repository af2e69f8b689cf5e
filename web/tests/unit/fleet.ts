/** Fleets for tests, as the server sends them. */

import { Fleet } from "../../src/fleet_model";
import type { State } from "../../src/types";

export interface Given { name: string; state?: State; enclosure?: string; bay?: string; className?: string; since?: string; advice?: string; score?: number }

const STATES: State[] = ["ok", "asleep", "unknown", "silent", "warning", "critical"];

export function fleetOf(devices: Given[]): Fleet {
  const column = (texts: (string | undefined)[]) => {
    const names = [...new Set(texts.filter((text): text is string => text !== undefined))];
    return { names, index: texts.map((text) => (text === undefined ? -1 : names.indexOf(text))) };
  };
  const ill = devices.map((device, index) => ({ ...device, index })).filter((device) => (device.state ?? "ok") !== "ok");
  return new Fleet({
    basis: { until: "2026-11-30T09:41:20Z" },
    data: {
      device: devices.map((device) => device.name), states: STATES, state: devices.map((device) => STATES.indexOf(device.state ?? "ok")), heard_seconds: devices.map(() => 1),
      labels: { enclosure: column(devices.map((device) => device.enclosure)), bay: column(devices.map((device) => device.bay)), class: column(devices.map((device) => device.className ?? "DiskUnit")) },
      metrics: {}, not_ok: { index: ill.map((device) => device.index), score: ill.map((device) => device.score ?? 10), since: ill.map((device) => device.since ?? null), reason: ill.map(() => "because"), advice: ill.map((device) => device.advice ?? null), acknowledged: ill.map(() => false) },
    },
  });
}
