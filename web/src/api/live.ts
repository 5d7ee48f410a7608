/** The live feed: over a socket, over SSE where sockets are blocked. It comes back by itself. */
import { signedIn, socketUrl } from "./gateway";
import { ask, told } from "./http";
import type { Told } from "./http";
import { token } from "./session";
import { events } from "./sse";

export interface Row {
  request_id: string;
  at: number;
  door: string;
  caller: string;
  outcome: string;
  error: string | null;
  route: string | null;
  target: string | null;
  provider: string | null;
  model: string | null;
  tier: string | null;
  score: number | null;
  domain: string | null;
  reason: string | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cached_tokens: number | null;
  reasoning_tokens: number | null;
  cost: string | { amount: string; currency: string } | null;
  classifier_ms: number | null;
  queue_ms: number | null;
  first_token_ms: number | null;
  total_ms: number | null;
  tokens_per_s: number | null;
  fallbacks: number;
  attempts: Attempt[] | null;
}

export interface Attempt {
  target: string;
  began_ms: number;
  first_ms: number | null;
  ended_ms: number | null;
  outcome: string;
  error: string | null;
  hedge: boolean;
}

export interface Quantiles {
  p50: number | null;
  p95: number | null;
  p99: number | null;
  count: number;
}

export interface Point {
  at: number;
  requests: number;
  errors: number;
  input_tokens: number;
  output_tokens: number;
  first_token_p50_ms: number | null;
  first_token_p95_ms: number | null;
}

export interface TargetState {
  target: string;
  requests: number;
  errors: number;
  first_token_ms: number | null;
  breaker: "closed" | "open" | "half_open";
  rests_s: number | null;
  error: string | null;
}

export interface Money {
  currency: string;
  days: { day: string; cost: string; always_strong: string | null }[];
  saved: string | null;
}

export interface Snapshot {
  at: number;
  scope: "all" | "own";
  window_s: number;
  rates: {
    requests_per_s: number;
    input_tokens_per_s: number;
    output_tokens_per_s: number;
    errors_per_s: number;
  };
  first_token_ms: Quantiles;
  total_ms: Quantiles;
  in_flight: number;
  totals: {
    since: number;
    requests: number;
    errors: number;
    cancelled: number;
    input_tokens: number;
    output_tokens: number;
  };
  tiers: Record<string, number>;
  scores: number[];
  targets: TargetState[] | null;
  queue: {
    waiting: number;
    running: number;
    jobs: {
      id: string;
      state: string;
      position: number | null;
      wait_s: number | null;
      target: string | null;
    }[];
  } | null;
  money: Money | null;
  workers: number | null;
  history: Point[];
  requests: Row[];
  missed?: number;
}

const MOST_ROWS = 200;
const HISTORY_S = 600;

/** A delta over what stands; see docs/websockets.md. */
export function merged(had: Snapshot, delta: Partial<Snapshot>): Snapshot {
  const next = { ...had, ...delta };
  if (delta.requests) next.requests = [...delta.requests, ...had.requests].slice(0, MOST_ROWS);
  else next.requests = had.requests;
  if (delta.history) {
    const points = new Map(had.history.map((one) => [one.at, one]));
    for (const point of delta.history) points.set(point.at, point);
    const newest = Math.max(...points.keys());
    next.history = [...points.values()]
      .filter((one) => one.at > newest - HISTORY_S)
      .sort((a, b) => a.at - b.at);
  } else next.history = had.history;
  return next;
}

export interface Watcher {
  snapshot(snapshot: Snapshot): void;
  /** Why nothing comes just now; null when it does. */
  trouble(error: Told | null): void;
}

const PAUSE = 1000;
const LONGEST_PAUSE = 10_000;
const LOST: Told = {
  kind: "lost",
  message: "The live feed broke off; trying again. The figures stand still until then.",
};

/** Gives what ends it. */
export function watch(watcher: Watcher): () => void {
  let ended = false;
  let pause = PAUSE;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let close: () => void = () => undefined;
  let now: Snapshot | null = null;

  const heard = (message: { type?: string } & Partial<Snapshot>) => {
    if (message.type === "snapshot") now = message as Snapshot;
    else if (message.type === "delta" && now) now = merged(now, message);
    else return;
    pause = PAUSE;
    watcher.trouble(null);
    watcher.snapshot(now);
  };
  const later = (error: Told) => {
    if (ended) return;
    watcher.trouble(error);
    timer = setTimeout(connect, pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  };
  const connect = () => {
    if (signedIn().link === "blocked") close = overEvents(heard, later);
    else close = overSocket(heard, later);
  };
  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    close();
  };
}

type Heard = (message: { type?: string } & Partial<Snapshot>) => void;
type Later = (error: Told) => void;

function overSocket(heard: Heard, later: Later): () => void {
  const socket = new WebSocket(socketUrl("/ws/monitoring"));
  let refusal: Told = LOST;
  socket.onopen = () =>
    socket.send(JSON.stringify({ type: "hello", ...(token() ? { token: token() } : {}) }));
  socket.onmessage = (event) => {
    const message = JSON.parse(String(event.data)) as {
      type: string;
      message?: string;
      kind?: string;
    };
    if (message.type === "error")
      refusal = { kind: message.kind ?? "error", message: message.message ?? LOST.message };
    else heard(message);
  };
  socket.onclose = () => later(refusal);
  const looked = () => {
    if (socket.readyState === 1)
      socket.send(JSON.stringify({ type: document.hidden ? "pause" : "continue" }));
  };
  document.addEventListener("visibilitychange", looked);
  return () => {
    document.removeEventListener("visibilitychange", looked);
    socket.onclose = null;
    socket.close();
  };
}

function overEvents(heard: Heard, later: Later): () => void {
  const giveUp = new AbortController();
  const run = async () => {
    const response = await ask("/monitoring/events", {
      signal: giveUp.signal,
      headers: { Accept: "text/event-stream" },
    });
    for await (const { event, data } of events(response)) {
      heard({ type: event, ...(JSON.parse(data) as Partial<Snapshot>) });
    }
    later(LOST);
  };
  run().catch((fault: unknown) => {
    if (!giveUp.signal.aborted) later(told(fault));
  });
  return () => giveUp.abort();
}
