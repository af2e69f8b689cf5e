/** The stream of changes: server-sent events over `fetch`, so that the token can go with it. */

import * as api from "./api";

export interface LiveHandlers {
  /** Something came, a heartbeat at least. It says that the server lives, not that its data are new. */
  heard(): void;
  /** States of devices changed: the fleet is to be asked for again. */
  changed(): void;
  /** New events; `hasMore` if there were too many for the stream. */
  events(rows: unknown[], hasMore: boolean): void;
  lost(retryAt: number): void;
}

const [FIRST_MS, MOST_MS] = [1000, 30_000];

/** Follows the stream until the returned function is called; comes back after 1 to 30 s with jitter. */
export function follow(handlers: LiveHandlers): { stop: () => void; retry: () => void } {
  let isStopped = false;
  let pause = FIRST_MS;
  let last = "";
  let abort = new AbortController();
  let timer = 0;

  const connect = async () => {
    abort = new AbortController();
    const isResumed = pause > FIRST_MS;
    try {
      const response = await api.stream("/api/v1/live", last, abort.signal);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      if (!reader) throw new Error("no body");
      pause = FIRST_MS;
      if (isResumed) {
        handlers.changed();
        // Without an id the server cannot know what was missed.
        if (last === "") handlers.events([], true);
      }
      let text = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        handlers.heard();
        text += part.value;
        const messages = text.split("\n\n");
        text = messages.pop() ?? "";
        for (const message of messages) take(message);
      }
      throw new Error("the stream has ended");
    } catch {
      if (isStopped) return;
      const wait = pause * (0.75 + Math.random() * 0.5);
      pause = Math.min(MOST_MS, pause * 2);
      handlers.lost(Date.now() + wait);
      timer = setTimeout(() => void connect(), wait);
    }
  };

  const take = (message: string) => {
    let [kind, data] = ["message", ""];
    for (const line of message.split("\n")) {
      const colon = line.indexOf(":");
      const [field, value] = [line.slice(0, colon), line.slice(colon + 1).trimStart()];
      if (field === "event") kind = value; else if (field === "data") data += value; else if (field === "id") last = value;
    }
    if (kind === "fleet") handlers.changed();
    if (kind === "events") {
      const batch = JSON.parse(data) as { data: unknown[]; has_more: boolean };
      handlers.events(batch.data, batch.has_more);
    }
  };

  void connect();
  return {
    stop: () => { isStopped = true; clearTimeout(timer); abort.abort(); },
    retry: () => { clearTimeout(timer); pause = FIRST_MS + 1; void connect(); },
  };
}
