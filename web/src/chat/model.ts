/** What a conversation is made of. Values are never changed in place. */
import type { Told } from "../api/http";
import type { Cost, Route, Status, Usage } from "../api/protocol";

export type Phase = "waiting" | "streaming" | "done" | "stopped" | "failed";
export type Rating = "good" | "bad" | "other_tier";

export interface Answer {
  id: string;
  /** The model that was asked for. */
  model: string;
  text: string;
  reasoning: string;
  phase: Phase;
  /** What happens before the first token. */
  status: Status | null;
  /** Failed attempts, as they were told. */
  steps: { target: string; reason: string }[];
  /** The connection is broken, and being mended. */
  away: boolean;
  /** Where to resume. */
  next: number;
  asked: number;
  /** Milliseconds until the first token, as this page saw it. */
  first: number | null;
  model_said: string | null;
  finish: string | null;
  usage: Usage | null;
  route: Route | null;
  cost: Cost | null;
  pace: number | null;
  error: Told | null;
  ratings: Rating[];
}

export interface Turn {
  id: string;
  text: string;
  /** Data URLs. */
  images: string[];
  /** A JSON schema the answers were held to. */
  schema: string | null;
  /** Side by side: lanes of the answers, else one. */
  lanes: Answer[][];
  /** Of each lane, the version that is shown. */
  shown: number[];
  /** Which lane goes on as the conversation. */
  chosen: number;
}

export interface Head {
  id: string;
  title: string;
  /** The title was given by hand. */
  named: boolean;
  created: number;
  updated: number;
}

export interface Conversation extends Head {
  turns: Turn[];
}

export function isOpen(answer: Answer): boolean {
  return answer.phase === "waiting" || answer.phase === "streaming";
}

export function newAnswer(id: string, model: string, now: number): Answer {
  return {
    id,
    model,
    text: "",
    reasoning: "",
    phase: "waiting",
    status: null,
    steps: [],
    away: false,
    next: 0,
    asked: now,
    first: null,
    model_said: null,
    finish: null,
    usage: null,
    route: null,
    cost: null,
    pace: null,
    error: null,
    ratings: [],
  };
}

export function shownAnswer(turn: Turn, lane = turn.chosen): Answer | undefined {
  return turn.lanes[lane]?.[turn.shown[lane] ?? 0];
}

/** The first words of the first question. */
export function titleOf(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  const short = line.length > 60 ? `${line.slice(0, 60).replace(/\s+\S*$/, "")}…` : line;
  return short || "Picture";
}

export function markdownOf(conversation: Conversation): string {
  const parts = [`# ${conversation.title}\n`];
  for (const turn of conversation.turns) {
    parts.push(`## You\n\n${turn.text}\n`);
    if (turn.images.length)
      parts.push(`(${turn.images.length} picture${turn.images.length > 1 ? "s" : ""})\n`);
    for (const [lane] of turn.lanes.entries()) {
      const answer = shownAnswer(turn, lane);
      if (!answer) continue;
      const route = answer.route;
      parts.push(`## ${route?.target ?? answer.model_said ?? answer.model}\n\n${answer.text}\n`);
      if (route?.reason) parts.push(`> ${route.tier ?? "named"}: ${route.reason}\n`);
    }
  }
  return parts.join("\n");
}
