import "fake-indexeddb/auto";
import { describe, expect, test, vi } from "vitest";
import { openShelf } from "../src/chat/db";
import { questionOf } from "../src/chat/asking";
import { markdownOf, newAnswer, titleOf } from "../src/chat/model";
import type { Conversation } from "../src/chat/model";
import { store } from "../src/chat/store";

function conversation(
  id: string,
  text = "What is a point?",
  answer = "A switch of the rails.",
): Conversation {
  return {
    id,
    title: text,
    named: false,
    created: 1,
    updated: Date.now(),
    turns: [
      {
        id: `${id}-turn`,
        text,
        images: [],
        schema: null,
        lanes: [[{ ...newAnswer(`${id}-answer`, "auto", 1), text: answer, phase: "done" }]],
        shown: [0],
        chosen: 0,
      },
    ],
  };
}

describe("conversations", () => {
  test("are kept, found by any of their words, and deleted", async () => {
    const shelf = await openShelf("somebody");
    await shelf.write(conversation("a"));
    await shelf.write(conversation("b", "Name a colour", "Vermilion"));
    expect((await shelf.heads()).map((one) => one.id).sort()).toEqual(["a", "b"]);
    expect([...(await shelf.search("VERMILION colour"))]).toEqual(["b"]);
    expect([...(await shelf.search("rails nowhere"))]).toEqual([]);
    await shelf.remove("a");
    expect(await shelf.read("a")).toBeUndefined();
    expect((await shelf.heads()).map((one) => one.id)).toEqual(["b"]);
  });

  test("of one caller are not another's", async () => {
    await (await openShelf("one")).write(conversation("secret"));
    expect(await (await openShelf("two")).heads()).toEqual([]);
  });

  test("are shown once a frame, however many pieces come", async () => {
    await store.use("frames");
    store.put(conversation("c", "Question", ""));
    let shown = 0;
    const leave = store.watch(() => (shown += 1));
    for (let at = 0; at < 500; at += 1) {
      store.answer("c", "c-answer", (one) => ({ ...one, text: `${one.text}x` }));
    }
    await vi.waitFor(() => expect(store.get("c")?.turns[0]?.lanes[0]?.[0]?.text).toHaveLength(500));
    leave();
    expect(shown).toBe(1);
  });

  test("are written down while they grow, for a page that is left", async () => {
    await store.use("kept");
    store.put(conversation("d"));
    await store.flush();
    expect((await (await openShelf("kept")).read("d"))?.title).toBe("What is a point?");
  });

  test("go on from the answer that is shown", () => {
    const before = conversation("e");
    const first = before.turns[0];
    if (!first) throw new Error("no turn");
    const other = { ...newAnswer("other", "auto", 1), text: "Chosen.", phase: "done" as const };
    const next = { ...first, id: "next", text: "And then?", lanes: [[newAnswer("n", "auto", 1)]] };
    const turns = [{ ...first, lanes: [[...(first.lanes[0] ?? []), other]], shown: [1] }, next];
    expect(questionOf({ ...before, turns }, next, "auto").messages).toEqual([
      { role: "user", content: "What is a point?" },
      { role: "assistant", content: "Chosen." },
      { role: "user", content: "And then?" },
    ]);
  });

  test("are exported as Markdown", () => {
    expect(markdownOf(conversation("f"))).toContain("## You\n\nWhat is a point?");
  });

  test("are named by their first words", () => {
    expect(titleOf("Short\nsecond line")).toBe("Short");
    expect(titleOf("word ".repeat(40))).toMatch(/^(word ){5,}word…$/);
    expect(titleOf("")).toBe("Picture");
  });
});
