/** The way without sockets: POST and a stream of events. No status before the first token, and no
 * resuming, so a connection that breaks ends the answer with an error. */
import { GatewayError, ask, told, toldIn } from "./http";
import type { Cost, Done, Listener, Question, Usage } from "./protocol";
import { routeOf } from "./protocol";
import { events } from "./sse";

const CUT = {
  kind: "cut",
  message: "The connection broke before the answer was whole. Ask again.",
  retryable: true,
};

/** Gives what stops it. */
export function overSse(id: string, question: Question, listener: Listener): () => void {
  const giveUp = new AbortController();
  const began = performance.now();
  let ended = false;
  const closed = (done: Partial<Done>): void => {
    ended = true;
    listener.done({
      finish_reason: null,
      stopped: false,
      usage: null,
      route: null,
      cost: null,
      tokens_per_s: null,
      ...done,
    });
  };
  const run = async (): Promise<void> => {
    listener.status({ state: "routing" });
    if (isPlain(question)) await complete(id, question, listener, giveUp.signal, closed);
    else await completions(id, question, listener, giveUp.signal, closed, began);
    if (!ended) listener.failed(CUT);
  };
  run().catch((fault: unknown) => {
    if (ended) return;
    if (giveUp.signal.aborted) closed({ stopped: true });
    else listener.failed(fault instanceof TypeError ? CUT : told(fault));
  });
  return () => giveUp.abort();
}

/** POST /complete takes text alone. */
export function isPlain(question: Question): boolean {
  return (
    !question.response_format && question.messages.every((one) => typeof one.content === "string")
  );
}

type Closed = (done: Partial<Done>) => void;

function post(id: string, path: string, body: object, signal: AbortSignal): Promise<Response> {
  return ask(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: {
      "Content-Type": "application/json",
      Accept: "text/event-stream",
      "X-Request-Id": id,
    },
    signal,
  });
}

async function complete(
  id: string,
  question: Question,
  listener: Listener,
  signal: AbortSignal,
  closed: Closed,
): Promise<void> {
  const response = await post(id, "/complete", question, signal);
  let next = 0;
  for await (const { data } of events(response)) {
    const frame = JSON.parse(data) as Record<string, unknown>;
    next += 1;
    if (typeof frame.message === "string" && frame.message)
      listener.delta({ text: frame.message, next });
    if (typeof frame.reasoning === "string") listener.delta({ reasoning: frame.reasoning, next });
    if (!frame.done) continue;
    const error = toldIn(frame);
    if (error) throw new GatewayError(response.status, error);
    const route = routeOf(frame.route);
    const usage = (frame.usage as Usage | undefined) ?? null;
    closed({
      finish_reason: (frame.finish_reason as string | null) ?? null,
      usage,
      route,
      cost: (frame.cost as Cost | undefined) ?? null,
      tokens_per_s: pace(
        usage?.output_tokens,
        route?.milliseconds?.first_token,
        route?.milliseconds?.total,
      ),
    });
    return;
  }
}

async function completions(
  id: string,
  question: Question,
  listener: Listener,
  signal: AbortSignal,
  closed: Closed,
  began: number,
): Promise<void> {
  const body = { ...question, stream: true, stream_options: { include_usage: true } };
  const response = await post(id, "/v1/chat/completions", body, signal);
  const target = response.headers.get("X-Pointsman-Target");
  let next = 0;
  let first: number | null = null;
  let finish: string | null = null;
  let usage: Usage | null = null;
  for await (const { data } of events(response)) {
    if (data === "[DONE]") {
      const total = performance.now() - began;
      closed({
        finish_reason: finish,
        usage,
        route: {
          request_id: id,
          target,
          milliseconds: { classifier: null, queue: null, first_token: first, total },
        },
        tokens_per_s: pace(usage?.output_tokens, first, total),
      });
      return;
    }
    const frame = JSON.parse(data) as Record<string, unknown>;
    const error = toldIn(frame);
    if (error) throw new GatewayError(response.status, error);
    const choice = (frame.choices as Record<string, unknown>[] | undefined)?.[0];
    const delta = choice?.delta as Record<string, unknown> | undefined;
    next += 1;
    if (typeof delta?.content === "string" && delta.content) {
      first ??= performance.now() - began;
      listener.delta({ text: delta.content, next });
    }
    if (typeof choice?.finish_reason === "string") finish = choice.finish_reason;
    const counted = frame.usage as Record<string, number> | null | undefined;
    if (counted) {
      usage = {
        input_tokens: counted.prompt_tokens ?? null,
        output_tokens: counted.completion_tokens ?? null,
        total_tokens: counted.total_tokens ?? null,
        cached_tokens: null,
        reasoning_tokens: null,
      };
    }
  }
}

function pace(tokens?: number | null, first?: number | null, total?: number | null): number | null {
  if (!tokens || first == null || total == null || total <= first) return null;
  return (tokens * 1000) / (total - first);
}
