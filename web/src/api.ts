/** The query API. */

import { millis } from "./words";

export class AnswerError extends Error {
  constructor(readonly status: number, message: string) { super(message); }
}

export interface Answer<T> {
  data: T;
  summary?: Record<string, unknown>;
  basis?: { from?: string; until?: string; n_points?: number };
  next?: Record<string, unknown> | null;
}

const TIMEOUT_MS = 15_000;
/** Patience with what takes the server long, in ms. */
export const LONG_MS = 40_000;
const TOKEN = "spindle.token";
/** Difference between the server's clock and this one, in ms. */
let clockOffset = 0;

export function now(): number {
  return Date.now() + clockOffset;
}

export function offsetSeconds(): number {
  return Math.round(clockOffset / 1000);
}

function headers(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return { "content-type": "application/json", "x-spindle": "page", ...(token ? { authorization: `Bearer ${token}` } : {}) };
}

export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN) !== null;
}

async function request(path: string, body: unknown, signal?: AbortSignal, timeoutMs = TIMEOUT_MS): Promise<Response> {
  const signals = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
  let response: Response;
  try {
    response = await fetch(path, { ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }), headers: headers(), signal: AbortSignal.any(signals) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AnswerError(0, error instanceof DOMException && error.name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : "Spindle cannot be reached");
  }
  const dated = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds, so a smaller difference means nothing.
  if (Number.isFinite(dated)) clockOffset = Math.abs(dated - Date.now()) > 2000 ? dated - Date.now() : 0;
  return response;
}

async function read<T>(response: Response): Promise<T> {
  const text = await response.text();
  let json: { status?: string; message?: string };
  try { json = JSON.parse(text) as typeof json; } catch { throw new AnswerError(response.status, text.trim() || `status ${response.status}`); }
  if (!response.ok || json.status === "error") throw new AnswerError(response.status, json.message ?? `status ${response.status}`);
  return json as T;
}

/** Asks a question; `R` is its whole answer. */
export async function ask<R>(type: string, params: Record<string, unknown> = {}, signal?: AbortSignal): Promise<R> {
  return read<R>(await request("/api/v1/query", { query_type: type, params }, signal));
}

/** Sends something that changes the state of the system. */
export async function send<R>(path: string, body: unknown, timeoutMs = TIMEOUT_MS): Promise<R> {
  return read<R>(await request(path, body, undefined, timeoutMs));
}

/** Gets a JSON answer that is not the answer to a query. */
export async function get<R>(path: string): Promise<R> {
  return read<R>(await request(path, undefined));
}

/** Gets a plain text, such as counters. */
export async function text(path: string, signal?: AbortSignal): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(path, { headers: headers(), ...(signal ? { signal } : {}) });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AnswerError(0, "Spindle cannot be reached");
  }
}

export function secondsSince(time: string | null | undefined): number {
  return (now() - millis(time)) / 1000;
}

/** Opens a stream of server-sent events behind the one with id `last`. */
export async function stream(path: string, last: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(path, { headers: { ...headers(), accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) }, signal });
  if (!response.ok) throw new AnswerError(response.status, await response.text());
  return response;
}
