import { describe, expect, test } from "vitest";
import { EventParser } from "../src/api/sse";

const STREAM =
  ': hello\nevent: delta\ndata: {"a":1}\n\ndata: two\r\ndata: lines\r\n\r\ndata: [DONE]\n\n';
const WANTED = [
  { event: "delta", data: '{"a":1}' },
  { event: "message", data: "two\nlines" },
  { event: "message", data: "[DONE]" },
];

describe("server-sent events", () => {
  test("any cut of the bytes gives the same events", () => {
    for (let first = 0; first <= STREAM.length; first += 1) {
      for (let second = first; second <= STREAM.length; second += 7) {
        const parser = new EventParser();
        const found = [
          STREAM.slice(0, first),
          STREAM.slice(first, second),
          STREAM.slice(second),
        ].flatMap((piece) => parser.feed(piece));
        expect(found).toEqual(WANTED);
      }
    }
  });

  test("an event that is not whole is not told", () => {
    expect(new EventParser().feed("data: half\n")).toEqual([]);
  });
});
