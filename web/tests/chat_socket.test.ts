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
      say(line, { type: "delta", id: message.id, offset: 0, next: 1, text: "Hel" });
      say(line, { type: "delta", id: message.id, offset: 1, next: 2, text: "lo" });
      say(line, { type: "done", id: message.id, next: 2, finish_reason: "stop", stopped: false });
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    await until(() => heard.ended);
    expect(heard.text).toBe("Hello");
    expect(heard.statuses.map((one) => one.state)).toEqual(["routing"]);
  });

  test("after a break the answer goes on from where it was, and is asked for once", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        say(line, { type: "delta", id: message.id, offset: 0, next: 3, text: "one two " });
        setTimeout(() => line.terminate(), 20);
      } else if (message.type === "resume") {
        say(line, { type: "delta", id: message.id, offset: 3, next: 5, text: "three" });
        say(line, { type: "done", id: message.id, next: 5, finish_reason: "stop", stopped: false });
      }
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    await until(() => heard.ended);
    expect(heard.text).toBe("one two three");
    expect(heard.links).toEqual([false, true]);
    expect(got.filter((one) => one.type === "start")).toHaveLength(1);
    expect(got.find((one) => one.type === "resume")).toEqual({ type: "resume", id: ID, offset: 3 });
  });

  test("what was heard twice is written once", async () => {
    respond = (message, line) => {
      say(line, { type: "delta", id: message.id, offset: 0, next: 2, text: "ab" });
      say(line, { type: "delta", id: message.id, offset: 0, next: 2, text: "ab" });
      say(line, { type: "done", id: message.id, next: 2, finish_reason: "stop", stopped: false });
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
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
        say(line, {
          type: "error",
          id: message.id,
          kind: "not_found",
          code: "unknown_id",
          message: "No.",
        });
      } else if (message.type === "start") {
        say(line, { type: "done", id: message.id, next: 0, finish_reason: "stop", stopped: false });
      }
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    await until(() => heard.ended);
    expect(got.map((one) => one.type)).toEqual(["hello", "start", "hello", "resume", "start"]);
  });

  test("an answer whose rest is lost says so, and is not asked and paid again", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        say(line, { type: "delta", id: message.id, offset: 0, next: 1, text: "half" });
        setTimeout(() => line.terminate(), 20);
      } else
        say(line, {
          type: "error",
          id: message.id,
          kind: "not_found",
          code: "unknown_id",
          message: "No.",
        });
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    await until(() => heard.error);
    expect(heard.text).toBe("half");
    expect(heard.error?.message).toMatch(/no longer has the rest/);
    expect(got.filter((one) => one.type === "start")).toHaveLength(1);
  });

  test("a question before the sign-in waits for it", async () => {
    respond = (message, line) => {
      if (message.type === "resume")
        say(line, {
          type: "error",
          id: message.id,
          code: "unknown_id",
          kind: "not_found",
          message: "",
        });
      else
        say(line, { type: "done", id: message.id, next: 0, finish_reason: "stop", stopped: false });
    };
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
    client.connect();
    await until(() => heard.ended);
  });

  test("a stop that was asked while the line was down is carried out when it is back", async () => {
    respond = (message, line) => {
      if (message.type === "start") {
        say(line, { type: "delta", id: message.id, offset: 0, next: 1, text: "a" });
        setTimeout(() => line.terminate(), 10);
      } else if (message.type === "stop") {
        say(line, { type: "done", id: message.id, next: 1, finish_reason: null, stopped: true });
      }
    };
    client.connect();
    await until(() => client.link === "ready");
    const heard = new Heard();
    client.start(ID, QUESTION, heard);
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
