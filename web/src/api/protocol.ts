/** The messages of /ws/chat, as docs/websockets.md has them. */
import type { Told } from "./http";

export interface CallerIs {
  id: string;
  name: string;
  admin: boolean;
}

export type Part =
  { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };

export interface Message {
  role: "system" | "user" | "assistant";
  content: string | Part[];
}

export interface Question {
  model: string;
  messages: Message[];
  response_format?: unknown;
  temperature?: number;
  max_tokens?: number;
}

export interface Status {
  state: string;
  position?: number;
  wait_s?: number | null;
  route?: string;
  tier?: string | null;
  score?: number | null;
  domain?: string | null;
  reason?: string;
  target?: string;
  attempt?: number;
}

export interface Usage {
  input_tokens: number | null;
  output_tokens: number | null;
  total_tokens: number | null;
  cached_tokens: number | null;
  reasoning_tokens: number | null;
}

export interface Route {
  request_id: string;
  route?: string | null;
  target?: string | null;
  model?: string | null;
  tier?: string | null;
  score?: number | null;
  domain?: string | null;
  reason?: string | null;
  classifier_version?: string | null;
  fallbacks?: { target: string; reason: string }[];
  milliseconds?: {
    classifier: number | null;
    queue: number | null;
    first_token: number | null;
    total: number | null;
  };
}

export interface Cost {
  amount: string;
  currency: string;
}

export interface Done {
  model?: string | null;
  finish_reason: string | null;
  stopped: boolean;
  usage: Usage | null;
  route: Route | null;
  cost: Cost | null;
  tokens_per_s: number | null;
}

export interface Failed extends Told {
  route?: Route | null;
}

export interface Delta {
  text?: string;
  reasoning?: string;
  next: number;
}

/** Who hears of one answer. Exactly one of `done` and `failed` is the last to be called. */
export interface Listener {
  status(status: Status): void;
  delta(delta: Delta): void;
  done(done: Done): void;
  failed(error: Failed): void;
  /** The connection broke, or is back. */
  link(up: boolean): void;
}

export function routeOf(found: unknown): Route | null {
  return typeof found === "object" && found !== null ? (found as Route) : null;
}
