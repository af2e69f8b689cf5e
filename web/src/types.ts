/** Answers of the query API, as far as the page reads them. `docs/queries.md` has their meaning. */

export type Health = "ok" | "warning" | "critical" | "unknown";
/** Health with silence and sleep told apart. */
export type State = "ok" | "asleep" | "unknown" | "silent" | "warning" | "critical";

export interface Basis {
  from?: string;
  until?: string;
  n_points?: number;
}

/** Column of texts that repeat: `names[index[i]]`, or nothing where the index is -1. */
export interface TextColumn {
  names: string[];
  index: number[];
}

export interface MetricColumn {
  unit: string | null;
  values: (number | null)[];
}

/** Devices that are not `ok`, in columns; `index` points into the columns of all. */
export interface NotOk {
  index: number[];
  score: (number | null)[];
  since: (string | null)[];
  reason: string[];
  advice: (string | null)[];
  acknowledged: boolean[];
}

export interface FleetColumns {
  device?: string[];
  device_front_coded?: FrontCoded;
  states: State[];
  state: number[];
  heard_seconds: (number | null)[];
  labels: Record<string, TextColumn>;
  metrics: Record<string, MetricColumn>;
  not_ok: NotOk;
}

/** Sorted names: characters that each shares with the one before, and what follows them. */
export interface FrontCoded { shared: number[]; rest: string[] }

export interface FleetAnswer {
  data: FleetColumns;
  basis: Basis;
}

export interface Decision {
  reason?: string;
  by?: string;
  until?: string | null;
  time?: string;
}

export interface Reason {
  metric: string;
  health: Health;
  value: number | null;
  raw?: number;
  limit: number | null;
  time: string | null;
  why: string;
  expected?: string;
  trend?: string;
  since?: string;
  advice?: string;
  accepted?: Decision;
}

export interface DeviceHealth {
  device: string;
  health: Health;
  score: number | null;
  since: string | null;
  reasons: Reason[];
  last_seen?: string | null;
  last_received?: string | null;
  acknowledged?: Decision | null;
  accepted?: Decision[];
}

export interface Incident {
  id: string;
  state: "open" | "acknowledged" | "closed";
  cause: string;
  health: Health;
  criticality: number;
  source_device: string;
  devices: string[];
  place: Record<string, string>;
  since: string;
  until: string | null;
  changed: string;
  advice: string | null;
  reasons: (Reason & { source_device: string; until?: string })[];
  n_reasons: number;
}

export interface EventRow {
  time: string;
  received: string;
  event_id: string;
  source_device: string;
  event_type: string;
  criticality: number;
  event_message: string | null;
  labels?: Record<string, string>;
}

export interface Bucket {
  time: string;
  min: number;
  mean: number;
  max: number;
  count: number;
}

export interface Segment {
  from: string;
  until: string;
  health: Health;
  score?: number | null;
  why?: string | null;
}
