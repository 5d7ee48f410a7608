/** One socket for all conversations. It comes back by itself, and takes up every open answer from
 * where it was heard last, so that a broken connection is neither seen twice nor paid twice. */
import { UNREACHED } from "./http";
import type { CallerIs, Done, Listener, Question, Status } from "./protocol";
import { routeOf } from "./protocol";

export type Link = "connecting" | "ready" | "lost" | "refused" | "blocked";

interface Open {
  question: Question | null;
  listener: Listener;
  /** Where to resume. */
  next: number;
  /** The gateway knows of it: it said something. */
  heard: boolean;
  stopping: boolean;
}

export interface Needs {
  url: string;
  token: () => string;
  socket?: (url: string) => WebSocket;
  /** Whether the gateway answers over plain HTTP. */
  alive?: () => Promise<boolean>;
}

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5000;
const PATIENCE = 8000;
const BLOCKED_AFTER = 2;
const PING_EVERY = 20_000;
const PONG_WITHIN = 6000;

export class ChatSocket {
  link: Link = "connecting";
  caller: CallerIs | null = null;
  /** Why the sign-in failed. */
  refusal = "";
  private socket: WebSocket | null = null;
  private answers = new Map<string, Open>();
  private watchers = new Set<() => void>();
  private pause = FIRST_PAUSE;
  private fruitless = 0;
  private everReady = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private beat: ReturnType<typeof setInterval> | undefined;
  private silence: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly needs: Needs) {}

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  connect(): void {
    clearTimeout(this.retry);
    this.drop();
    if (this.link !== "lost") this.become("connecting");
    let socket: WebSocket;
    try {
      socket = (this.needs.socket ?? ((url) => new WebSocket(url)))(this.needs.url);
    } catch {
      this.ended(null, 1006);
      return;
    }
    this.socket = socket;
    this.patience = setTimeout(() => this.ended(socket, 1006), PATIENCE);
    socket.onopen = () =>
      this.say({ type: "hello", ...(this.needs.token() ? { token: this.needs.token() } : {}) });
    socket.onmessage = (event) => {
      if (socket === this.socket) this.heard(String(event.data));
    };
    socket.onclose = (event) => this.ended(socket, event.code);
  }

  /** With another token, or after a long while. */
  again(): void {
    this.pause = FIRST_PAUSE;
    this.fruitless = 0;
    this.link = "connecting";
    this.connect();
  }

  /** The machine is online again, or the tab is looked at: no reason to wait. */
  nudge(): void {
    if (this.link === "lost" || this.link === "connecting") {
      this.pause = FIRST_PAUSE;
      if (!this.socket || this.socket.readyState >= 2) this.connect();
    } else if (this.link === "ready") this.ping();
  }

  start(id: string, question: Question, listener: Listener): void {
    this.answers.set(id, { question, listener, next: 0, heard: false, stopping: false });
    if (this.link === "ready") this.say({ type: "start", id, ...question });
    else listener.link(false);
  }

  /** An answer of another page's life, from its offset. */
  resume(id: string, next: number, listener: Listener): void {
    this.answers.set(id, { question: null, listener, next, heard: true, stopping: false });
    if (this.link === "ready") this.say({ type: "resume", id, offset: next });
    else listener.link(false);
  }

  stop(id: string): void {
    const open = this.answers.get(id);
    if (!open) return;
    open.stopping = true;
    if (this.link === "ready") {
      this.say({ type: "stop", id });
      return;
    }
    if (open.heard) return;
    // It never left this page.
    this.answers.delete(id);
    open.listener.done({
      finish_reason: null,
      stopped: true,
      usage: null,
      route: null,
      cost: null,
      tokens_per_s: null,
    });
  }

  private become(link: Link): void {
    this.link = link;
    for (const watcher of this.watchers) watcher();
  }

  private say(message: object): void {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  private ping(): void {
    this.say({ type: "ping" });
    clearTimeout(this.silence);
    const socket = this.socket;
    this.silence = setTimeout(() => this.ended(socket, 1006), PONG_WITHIN);
  }

  private drop(): void {
    clearTimeout(this.patience);
    clearTimeout(this.silence);
    clearInterval(this.beat);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private ended(socket: WebSocket | null, code: number): void {
    if (socket !== this.socket) return;
    this.drop();
    if (code === 4401) {
      this.become("refused");
      for (const open of this.answers.values()) {
        open.listener.failed({ kind: "not_identified", message: this.refusal || "Sign in again." });
      }
      this.answers.clear();
      return;
    }
    this.fruitless += 1;
    for (const open of this.answers.values()) open.listener.link(false);
    this.become(this.everReady ? "lost" : "connecting");
    void this.blocked().then((blocked) => {
      if (blocked && this.link !== "ready") {
        this.become("blocked");
        return;
      }
      this.retry = setTimeout(() => this.connect(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    });
  }

  /** Plain HTTP comes through and sockets never did. */
  private async blocked(): Promise<boolean> {
    if (this.everReady || this.fruitless < BLOCKED_AFTER || !this.needs.alive) return false;
    return this.needs.alive();
  }

  private heard(text: string): void {
    clearTimeout(this.silence);
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return;
    }
    if (message.type === "ready") {
      this.ready(message);
      return;
    }
    const id = typeof message.id === "string" ? message.id : "";
    const open = this.answers.get(id);
    if (!open) {
      if (message.type === "error" && !id) this.refusal = String(message.message ?? "");
      return;
    }
    this.told(id, open, message);
  }

  private ready(message: Record<string, unknown>): void {
    clearTimeout(this.patience);
    this.caller = (message.caller as CallerIs | undefined) ?? null;
    this.refusal = "";
    this.everReady = true;
    this.fruitless = 0;
    this.pause = FIRST_PAUSE;
    this.beat = setInterval(() => this.ping(), PING_EVERY);
    this.become("ready");
    for (const [id, open] of this.answers) {
      open.listener.link(true);
      this.say({ type: "resume", id, offset: open.next });
      if (open.stopping) this.say({ type: "stop", id });
    }
  }

  private told(id: string, open: Open, message: Record<string, unknown>): void {
    const { listener } = open;
    if (message.type === "status") {
      open.heard = true;
      listener.status(message as unknown as Status);
    } else if (message.type === "delta") {
      open.heard = true;
      const { offset, next } = message as { offset: number; next: number };
      // Pieces that were seen already; the server sends none, but a proxy may repeat itself.
      if (offset < open.next) return;
      open.next = next;
      const delta = { next } as { next: number; text?: string; reasoning?: string };
      if (typeof message.text === "string") delta.text = message.text;
      if (typeof message.reasoning === "string") delta.reasoning = message.reasoning;
      listener.delta(delta);
    } else if (message.type === "done") {
      this.answers.delete(id);
      listener.done(message as unknown as Done);
    } else if (message.type === "error") {
      this.failed(id, open, message);
    }
  }

  private failed(id: string, open: Open, message: Record<string, unknown>): void {
    if (message.code === "unknown_id" && !open.heard && open.question) {
      // The connection broke before the question arrived.
      this.say({ type: "start", id, ...open.question });
      return;
    }
    this.answers.delete(id);
    const unknown = message.code === "unknown_id";
    open.listener.failed({
      kind: String(message.kind ?? "error"),
      message: unknown
        ? "The gateway no longer has the rest of this answer. Ask again."
        : String(message.message ?? UNREACHED.message),
      code: (message.code as string | null) ?? null,
      param: (message.param as string | null) ?? null,
      retryAfter: (message.retry_after as number | null) ?? null,
      retryable: unknown || message.retryable === true,
      route: routeOf(message.route),
    });
  }
}
