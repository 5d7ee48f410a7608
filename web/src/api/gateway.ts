/** The one connection of this page, and who it is that asks. */
import { useSyncExternalStore } from "react";
import { overSse } from "./chat_sse";
import { ChatSocket } from "./chat_socket";
import type { Link } from "./chat_socket";
import { ask, get, isForbidden } from "./http";
import type { CallerIs, Listener, Question } from "./protocol";
import { keepToken, token } from "./session";

export interface Signed {
  /** waiting: nobody knows yet. out: a token is needed. in: questions may be asked. */
  state: "waiting" | "out" | "in";
  caller: CallerIs;
  /** Why the last token was not taken. */
  refusal: string;
  link: Link;
}

const NOBODY: CallerIs = { id: "open", name: "open", admin: false };

function socketUrl(path: string): string {
  return `${location.origin.replace(/^http/, "ws")}${path}`;
}

const socket = new ChatSocket({
  url: socketUrl("/ws/chat"),
  token,
  alive: async () => {
    try {
      await ask("/healthz");
      return true;
    } catch {
      return false;
    }
  },
});

let signed: Signed = { state: "waiting", caller: NOBODY, refusal: "", link: "connecting" };
const watchers = new Set<() => void>();
const stops = new Map<string, () => void>();

function become(part: Partial<Signed>): void {
  signed = { ...signed, ...part };
  for (const watcher of watchers) watcher();
}

socket.watch(() => {
  const { link } = socket;
  if (link === "ready") become({ state: "in", caller: socket.caller ?? NOBODY, refusal: "", link });
  else if (link === "refused")
    become({ state: "out", refusal: token() ? socket.refusal : "", link });
  else if (link === "blocked") {
    become({ link });
    void identify();
  } else become({ link });
});

/** Without a socket: the snapshot says whether all callers are shown. */
async function identify(): Promise<void> {
  try {
    const { scope } = await get<{ scope: string }>("/monitoring");
    const admin = scope === "all";
    become({
      state: "in",
      refusal: "",
      caller: admin ? { id: "admin", name: "admin", admin } : NOBODY,
    });
  } catch (fault) {
    if (isForbidden(fault))
      become({ state: "out", refusal: token() ? (fault as Error).message : "" });
    else become({ state: "in", caller: NOBODY });
  }
}

export function open(): void {
  socket.connect();
  addEventListener("online", () => socket.nudge());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) socket.nudge();
  });
}

export function signIn(given: string): void {
  keepToken(given.trim());
  become({ state: "waiting", refusal: "" });
  socket.again();
}

export function signOut(): void {
  keepToken("");
  become({ state: "waiting", caller: NOBODY, refusal: "" });
  socket.again();
}

export function useSigned(): Signed {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => signed,
  );
}

export function signedIn(): Signed {
  return signed;
}

export function start(id: string, question: Question, listener: Listener): void {
  if (signed.link === "blocked") stops.set(id, overSse(id, question, listener));
  else socket.start(id, question, listener);
}

/** False where the rest of the answer cannot be had. */
export function resume(id: string, next: number, listener: Listener): boolean {
  if (signed.link === "blocked") return false;
  socket.resume(id, next, listener);
  return true;
}

export function stop(id: string): void {
  const over = stops.get(id);
  if (over) {
    stops.delete(id);
    over();
  } else socket.stop(id);
}

export { socketUrl };
