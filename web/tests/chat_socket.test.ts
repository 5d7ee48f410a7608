/** Against a real WebSocket server that speaks docs/websockets.md, and breaks when told. */
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocketServer } from "ws";
import type { WebSocket as ServerSocket } from "ws";
import { ChatSocket } from "../src/api/chat_socket";
import type { Delta, Done, Failed, Listener, Status } from "../src/api/protocol";

type Message = Record<string, unknown>;

const QUESTION = { model: "auto", messages: [{ role: "user" as const, content: "Hi" }] };
const ID = "0b5e6b2e-6f0e-4f8e";

class Heard implements Listener {
  text = "";
  statuses: Status[] = [];
  ended: Done | null = null;
  error: Failed | null = null;
  links: boolean[] = [];
  status = (status: Status) => void this.statuses.push(status);
  delta = (delta: Delta) => void (this.text += delta.text ?? "");
  done = (done: Done) => void (this.ended = done);
  failed = (error: Failed) => void (this.error = error);
  link = (up: boolean) => void this.links.push(up);
}

let server: WebSocketServer;
let got: Message[];
let lines: ServerSocket[];
let respond: (message: Message, line: ServerSocket) => void;
let client: ChatSocket;

beforeEach(async () => {
  got = [];
  lines = [];
  respond = () => undefined;
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((resolve) => server.once("listening", resolve));
  server.on("connection", (line) => {
    lines.push(line);
    line.on("message", (data) => {
      const message = JSON.parse(String(data)) as Message;
      got.push(message);
      if (message.type === "hello")
        say(line, { type: "ready", caller: { id: "open", name: "open", admin: false } });
      else respond(message, line);
    });
  });
  client = new ChatSocket({
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    token: () => "pm-secret",
  });
});

afterEach(() => {
  client.watch(() => undefined);
  for (const line of lines) line.terminate();
  server.close();
});

function say(line: ServerSocket, message: Message): void {
  line.send(JSON.stringify(message));
}

/** A piece of an answer; `next` is one behind `offset` when it is not given. */
function delta(
  line: ServerSocket,
  { id }: Message,
  offset: number,
  text: string,
  next = offset + 1,
) {
  say(line, { type: "delta", id, offset, next, text });
}

function done(line: ServerSocket, { id }: Message, next: number): void {
  say(line, { type: "done", id, next, finish_reason: "stop", stopped: false });
}

/** What a gateway says that has never heard of this answer, or no longer has it. */
function unknown(line: ServerSocket, { id }: Message): void {
  say(line, { type: "error", id, kind: "not_found", code: "unknown_id", message: "No." });
}

/** Connected, and the question is on its way. */
async function asked(): Promise<Heard> {
  client.connect();
  await until(() => client.link === "ready");
  const heard = new Heard();
  client.start(ID, QUESTION, heard);
  return heard;
}

async function until(what: () => unknown): Promise<void> {
  await vi.waitFor(() => expect(what()).toBeTruthy(), { timeout: 5000, interval: 5 });
}

describe("the chat's socket", () => {
  test("the token goes in the first message, never in the address", async () => {
    client.connect();
    await until(() => client.link === "ready");
    expect(got[0]).toEqual({ type: "hello", token: "pm-secret" });
  });

  test("an answer comes in pieces and ends once", async () => {
    respond = (message, line) => {
      say(line, { type: "status", id: message.id, state: "routing" });
      delta(line, message, 0, "Hel");
      delta(line, message, 1, "lo");
      done(line, message, 2);
    };
    const heard = await asked();
    await until(() => heard.ended);
    expect(heard.text).toBe("Hello");
    expect(heard.statuses.map((one) => one.state)).toEqual(["routing"]);
  });

  test("after a break the answer goes on from where it was, and is asked for once", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        delta(line, message, 0, "one two ", 3);
        setTimeout(() => line.terminate(), 20);
      } else if (message.type === "resume") {
        delta(line, message, 3, "three", 5);
        done(line, message, 5);
      }
    };
    const heard = await asked();
    await until(() => heard.ended);
    expect(heard.text).toBe("one two three");
    expect(heard.links).toEqual([false, true]);
    expect(got.filter((one) => one.type === "start")).toHaveLength(1);
    expect(got.find((one) => one.type === "resume")).toEqual({ type: "resume", id: ID, offset: 3 });
  });

  test("what was heard twice is written once", async () => {
    respond = (message, line) => {
      delta(line, message, 0, "ab", 2);
      delta(line, message, 0, "ab", 2);
      done(line, message, 2);
    };
    const heard = await asked();
    await until(() => heard.ended);
    expect(heard.text).toBe("ab");
  });

  test("a question that never arrived is asked again, after the gateway said that it knows of none", async () => {
    let first = true;
    respond = (message, line) => {
      if (message.type === "start" && first) {
        first = false;
        line.terminate();
      } else if (message.type === "resume") {
        unknown(line, message);
      } else if (message.type === "start") {
        done(line, message, 0);
      }
    };
    const heard = await asked();
    await until(() => heard.ended);
    expect(got.map((one) => one.type)).toEqual(["hello", "start", "hello", "resume", "start"]);
  });

  test("an answer whose rest is lost says so, and is not asked and paid again", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        delta(line, message, 0, "half");
        setTimeout(() => line.terminate(), 20);
      } else unknown(line, message);
    };
    const heard = await asked();
    await until(() => heard.error);
    expect(heard.text).toBe("half");
    expect(heard.error?.message).toMatch(/no longer has the rest/);
    expect(got.filter((one) => one.type === "start")).toHaveLength(1);
  });

  test("a question before the sign-in waits for it", async () => {
    respond = (message, line) => {
      if (message.type === "resume") unknown(line, message);
      else done(line, message, 0);
    };
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    client.connect();
    await until(() => heard.ended);
  });

  test("a stop that was asked while the line was down is carried out when it is back", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        delta(line, message, 0, "a");
        setTimeout(() => line.terminate(), 10);
      } else if (message.type === "stop") {
        say(line, { type: "done", id: message.id, next: 1, finish_reason: null, stopped: true });
      }
    };
    const heard = await asked();
    await until(() => heard.links.includes(false));
    client.stop(ID);
    await until(() => heard.ended);
    expect(heard.ended?.stopped).toBe(true);
  });

  test("a token that is not taken is told, and not tried again", async () => {
    server.removeAllListeners("connection");
    server.on("connection", (line) => {
      lines.push(line);
      line.on("message", () => {
        say(line, { type: "error", kind: "not_identified", message: "This key is not known." });
        line.close(4401);
      });
    });
    client.connect();
    await until(() => client.link === "refused");
    expect(client.refusal).toBe("This key is not known.");
    expect(lines).toHaveLength(1);
  });

  test("where sockets never come through and plain HTTP does, they are blocked", async () => {
    server.close();
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo | null)?.port ?? 1}/`;
    const other = new ChatSocket({ url, token: () => "", alive: async () => true });
    server.removeAllListeners("connection");
    server.on("connection", (line) => line.terminate());
    other.connect();
    await until(() => other.link === "blocked");
  });
});
