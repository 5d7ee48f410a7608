import { Lexer } from "marked";
import { describe, expect, test } from "vitest";
import { Incremental, closed } from "../src/chat/incremental";

const TEXT = `# Heading

A paragraph with **bold**, \`code\` and a [link](https://example.org).
Its second line.

- one
- two
  - inner

  more of two

10. ten
11. eleven

\`\`\`python
def f():

    return "- no list"
\`\`\`

> a quote
> goes on

| a | b |
|---|--:|
| 1 | 2 |

---

Setext
======

The end.`;

function shapes(tokens: { type: string; raw: string }[]): string[] {
  return tokens
    .filter((one) => one.type !== "space" && one.type !== "def")
    .map((one) => `${one.type}:${one.raw.trim()}`);
}

function whole(text: string): string[] {
  return shapes(new Lexer({ gfm: true, breaks: true }).lex(text));
}

describe("markdown that grows", () => {
  test("letter by letter it ends as it would have been read at once", () => {
    const reader = new Incremental();
    for (let at = 1; at < TEXT.length; at += 1) reader.update(TEXT.slice(0, at), false);
    const blocks = reader.update(TEXT, true);
    expect(shapes(blocks.map((one) => one.token))).toEqual(whole(TEXT));
  });

  test.each([2, 3, 5, 7, 11, 40, 200])("in pieces of %i it ends the same", (size) => {
    const reader = new Incremental();
    for (let at = size; at < TEXT.length; at += size) reader.update(TEXT.slice(0, at), false);
    expect(shapes(reader.update(TEXT, true).map((one) => one.token))).toEqual(whole(TEXT));
  });

  test("a block that is settled keeps its identity", () => {
    const reader = new Incremental();
    const first = reader.update("one paragraph\n\nanother paragraph", false)[0];
    const later = reader.update(
      "one paragraph\n\nanother paragraph, longer\n\nand a third one",
      false,
    );
    expect(first?.settled).toBe(true);
    expect(later[0]).toBe(first);
  });

  test("only what is not settled is read again, so a long answer costs no more at its end", () => {
    const reader = new Incremental();
    const paragraph = "Some words that make a paragraph of an answer.\n\n";
    reader.update(paragraph.repeat(2000), false);
    const settled = reader.blocks.slice(0, 1990);
    const after = reader.update(`${paragraph.repeat(2000)}and on it goes`, false);
    expect(after.slice(0, 1990).every((block, at) => block === settled[at])).toBe(true);
  });

  test("another text starts anew", () => {
    const reader = new Incremental();
    reader.update("first text\n\nwith two paragraphs", true);
    expect(shapes(reader.update("# other", true).map((one) => one.token))).toEqual([
      "heading:# other",
    ]);
  });

  test("line ends of Windows are line ends", () => {
    const reader = new Incremental();
    expect(reader.update("one paragraph\r\n\r\nanother one here", true)).toHaveLength(2);
  });
});

describe("what is still being written looks as it will look", () => {
  test.each([
    ["so **bo", "so **bo**"],
    ["a `cod", "a `cod`"],
    ["done **bold** word", "done **bold** word"],
    ["```js\nlet `a", "```js\nlet `a"],
    ["first **open\n\nthen plain", "first **open\n\nthen plain"],
    ["just begun **", "just begun **"],
  ])("%j becomes %j", (given, wanted) => {
    expect(closed(given)).toBe(wanted);
  });
});
