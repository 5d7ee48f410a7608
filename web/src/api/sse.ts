/** Server-sent events out of a body, whatever way its bytes are cut. */
export interface ServerEvent {
  event: string;
  data: string;
}

export class EventParser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  feed(text: string): ServerEvent[] {
    const found: ServerEvent[] = [];
    this.rest += text;
    let from = 0;
    for (;;) {
      const end = this.rest.slice(from).search(/[\r\n]/);
      if (end < 0) break;
      const at = from + end;
      // A lone CR at the end may be half of a CRLF.
      if (this.rest[at] === "\r" && at + 1 === this.rest.length) break;
      const line = this.rest.slice(from, at);
      from = at + (this.rest.startsWith("\r\n", at) ? 2 : 1);
      this.line(line, found);
    }
    this.rest = this.rest.slice(from);
    return found;
  }

  private line(line: string, found: ServerEvent[]): void {
    if (line === "") {
      if (this.data.length)
        found.push({ event: this.event || "message", data: this.data.join("\n") });
      this.event = "";
      this.data = [];
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
  }
}

export async function* events(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
