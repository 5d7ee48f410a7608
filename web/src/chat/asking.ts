/** From a question to its answers: what is sent, and how what comes back is written down. */
import { ask } from "../api/http";
import type {
  Delta,
  Done,
  Failed,
  Listener,
  Message,
  Part,
  Question,
  Status,
} from "../api/protocol";
import { resume as resumed, start, stop as stopped } from "../api/gateway";
import { hold, untilFree } from "./holding";
import type { Answer, Conversation, Rating, Turn } from "./model";
import { isOpen, newAnswer, shownAnswer, titleOf } from "./model";
import { store } from "./store";

export interface Draft {
  text: string;
  images: string[];
  schema: string | null;
  /** One, or two for side by side. */
  models: string[];
}

/** Answers that this page hears. */
const heard = new Set<string>();

/** Gives the conversation's id. */
export function askNew(conversation: Conversation | undefined, draft: Draft): string {
  const now = Date.now();
  const turn = newTurn(draft, now);
  const there = conversation ?? {
    id: crypto.randomUUID(),
    title: titleOf(draft.text),
    named: false,
    created: now,
    updated: now,
    turns: [],
  };
  store.put({ ...there, updated: now, turns: [...there.turns, turn] });
  void begin(there.id, turn);
  return there.id;
}

/** What came after the edited question is dropped. */
export function editAndAsk(conversation: Conversation, turn: Turn, text: string): void {
  const models = turn.lanes.map((lane) => lane.at(-1)?.model ?? "auto");
  const at = conversation.turns.findIndex((one) => one.id === turn.id);
  for (const later of conversation.turns.slice(at)) stopAll(later);
  const now = Date.now();
  const edited = newTurn({ text, images: turn.images, schema: turn.schema, models }, now);
  const title = at === 0 && !conversation.named ? titleOf(text) : conversation.title;
  store.put({
    ...conversation,
    title,
    updated: now,
    turns: [...conversation.turns.slice(0, at), edited],
  });
  void begin(conversation.id, edited);
}

/** Another version of one lane's answer, from the same model or from another. */
export function askAgain(conversation: string, turn: Turn, lane: number, model: string): void {
  const answer = newAnswer(crypto.randomUUID(), model, Date.now());
  store.turn(conversation, turn.id, (one) => ({
    ...one,
    lanes: one.lanes.map((versions, at) => (at === lane ? [...versions, answer] : versions)),
    shown: one.shown.map((version, at) => (at === lane ? (one.lanes[lane]?.length ?? 0) : version)),
  }));
  const there = store.get(conversation);
  if (there) send(there, turn, answer);
}

export function stopAll(turn: Turn): void {
  for (const answer of turn.lanes.flat()) if (isOpen(answer)) stop(answer);
}

export function stop(answer: Answer): void {
  stopped(answer.id);
}

/** Answers that were open when the page was left, unless another tab hears them. */
export function takeUp(conversation: Conversation): void {
  for (const turn of conversation.turns) {
    for (const answer of turn.lanes.flat()) {
      if (!isOpen(answer) || heard.has(answer.id)) continue;
      heard.add(answer.id);
      void takeUpOne(conversation.id, answer);
    }
  }
}

async function takeUpOne(conversation: string, answer: Answer): Promise<void> {
  const release = await hold(answer.id);
  if (!release) {
    await untilFree(answer.id);
    heard.delete(answer.id);
    const written = await store.readAgain(conversation);
    if (written) takeUp(written);
    return;
  }
  const listener = writer(conversation, answer.id, release);
  if (resumed(answer.id, answer.next, listener)) return;
  listener.failed({
    kind: "cut",
    message: "The page was left before the answer was whole. Ask again.",
    retryable: true,
  });
}

export async function rate(conversation: string, answer: Answer, value: Rating): Promise<void> {
  await ask("/feedback", {
    method: "POST",
    body: JSON.stringify({ request_id: answer.route?.request_id ?? answer.id, value }),
    headers: { "Content-Type": "application/json" },
  });
  store.answer(conversation, answer.id, (one) => ({ ...one, ratings: rated(one.ratings, value) }));
}

/** Good and bad exclude each other; the tier is another matter. */
function rated(ratings: Rating[], value: Rating): Rating[] {
  const others = ratings.filter((one) =>
    value === "other_tier" ? one !== value : one === "other_tier",
  );
  return [...others, value];
}

function newTurn(draft: Draft, now: number): Turn {
  return {
    id: crypto.randomUUID(),
    text: draft.text,
    images: draft.images,
    schema: draft.schema,
    lanes: draft.models.map((model) => [newAnswer(crypto.randomUUID(), model, now)]),
    shown: draft.models.map(() => 0),
    chosen: 0,
  };
}

async function begin(conversation: string, turn: Turn): Promise<void> {
  const there = store.get(conversation);
  if (!there) return;
  for (const lane of turn.lanes) if (lane[0]) send(there, turn, lane[0]);
  // A page that is left at once must find the question again.
  await store.flush();
}

function send(conversation: Conversation, turn: Turn, answer: Answer): void {
  heard.add(answer.id);
  const held = hold(answer.id);
  const release = (): void => void held.then((letGo) => letGo?.());
  start(
    answer.id,
    questionOf(conversation, turn, answer.model),
    writer(conversation.id, answer.id, release),
  );
}

/** The turns before, each with the answer that is shown, and this one. */
export function questionOf(conversation: Conversation, turn: Turn, model: string): Question {
  const messages: Message[] = [];
  for (const one of conversation.turns) {
    messages.push(asked(one));
    if (one.id === turn.id) break;
    const answer = shownAnswer(one);
    if (answer?.text) messages.push({ role: "assistant", content: answer.text });
  }
  const question: Question = { model, messages };
  if (turn.schema !== null) {
    const schema = JSON.parse(turn.schema) as unknown;
    question.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  }
  return question;
}

function asked(turn: Turn): Message {
  if (!turn.images.length) return { role: "user", content: turn.text };
  const parts: Part[] = turn.images.map((url) => ({ type: "image_url", image_url: { url } }));
  if (turn.text) parts.unshift({ type: "text", text: turn.text });
  return { role: "user", content: parts };
}

/** `release` lets the other tabs read, once all is written down. */
function writer(conversation: string, id: string, release: () => void): Listener {
  const ended = (): void => {
    heard.delete(id);
    store.whenShown(() => void store.flush().then(release));
  };
  const change = (how: (answer: Answer) => Answer): void => store.answer(conversation, id, how);
  return {
    status: (status: Status) => change((one) => withStatus(one, status)),
    delta: (delta: Delta) => {
      const now = Date.now();
      change((one) => ({
        ...one,
        phase: "streaming",
        away: false,
        next: delta.next,
        first: one.first ?? now - one.asked,
        text: one.text + (delta.text ?? ""),
        reasoning: one.reasoning + (delta.reasoning ?? ""),
      }));
    },
    done: (done: Done) => {
      change((one) => ({
        ...one,
        phase: done.stopped ? "stopped" : "done",
        away: false,
        model_said: done.model ?? null,
        finish: done.finish_reason,
        usage: done.usage,
        route: done.route ?? one.route,
        cost: done.cost,
        pace: done.tokens_per_s,
      }));
      ended();
    },
    failed: (error: Failed) => {
      const { route, ...told } = error;
      change((one) => ({
        ...one,
        phase: "failed",
        away: false,
        error: told,
        route: route ?? one.route,
      }));
      ended();
    },
    link: (up: boolean) => change((one) => ({ ...one, away: !up })),
  };
}

function withStatus(answer: Answer, status: Status): Answer {
  if (status.state === "restarted") return { ...answer, text: "", reasoning: "", status };
  if (status.state === "next") {
    const step = { target: status.target ?? "", reason: status.reason ?? "" };
    return { ...answer, status, steps: [...answer.steps, step] };
  }
  if (status.state !== "routed") return { ...answer, status };
  const route = {
    request_id: answer.id,
    route: status.route ?? null,
    tier: status.tier ?? null,
    score: status.score ?? null,
    domain: status.domain ?? null,
    reason: status.reason ?? null,
  };
  return { ...answer, status, route };
}
