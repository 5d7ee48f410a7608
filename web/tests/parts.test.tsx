import { createRoot } from "react-dom/client";
import { act } from "react";
import { describe, expect, test } from "vitest";
import { merged } from "../src/api/live";
import type { Snapshot } from "../src/api/live";
import { saying } from "../src/chat/AnswerView";
import { faultOf } from "../src/chat/Composer";
import { Markdown } from "../src/chat/Markdown";
import { thresholdIn } from "../src/chat/Why";
import { nearest } from "../src/pages/Curve";
import { isLanguage, money, ms, number, ordinal } from "../src/ui/format";
import { shortcutOf } from "../src/ui/shortcuts";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

function shown(text: string): HTMLElement {
  const host = document.createElement("div");
  act(() => createRoot(host).render(<Markdown text={text} whole />));
  return host;
}

describe("what a model writes", () => {
  test("never comes to life as HTML", () => {
    const host = shown(
      "<img src=x onerror=alert(1)> <script>alert(1)</script>\n\n[a](javascript:alert(1)) ![b](https://elsewhere.example/p.png)",
    );
    expect(host.querySelector("img, script, iframe")).toBeNull();
    expect([...host.querySelectorAll("a")].map((one) => one.getAttribute("href"))).toEqual([
      "https://elsewhere.example/p.png",
    ]);
    expect(host.textContent).toContain("onerror=alert(1)");
  });

  test("is shown with its entities as they were written", () => {
    expect(shown('a < b && c > "d" `x<y>`').textContent).toBe('a < b && c > "d" x<y>');
  });

  test("has code blocks with a language and a button to copy", () => {
    const host = shown("```python\nprint(1)\n```");
    expect(host.querySelector("figcaption")?.textContent).toContain("python");
    expect(host.querySelector("button")?.getAttribute("aria-label")).toBe("Copy the code");
    expect(host.querySelector("pre")?.textContent).toBe("print(1)");
  });
});

describe("before the first token", () => {
  test.each([
    [{ state: "routing" }, "Routing"],
    [{ state: "queued", position: 3, wait_s: 11.2 }, "Queued 3rd, about 12 s"],
    [{ state: "queued", position: 1, wait_s: null }, "Queued 1st"],
    [{ state: "asking", target: "ollama/llama3.2", attempt: 1 }, "Asking ollama/llama3.2"],
    [{ state: "loading", target: "ollama/llama3.2" }, "ollama/llama3.2 is loading the model"],
    [
      { state: "next", target: "ollama/llama3.2", reason: "no" },
      "ollama/llama3.2 failed, trying the next",
    ],
  ])("%j is said as %j", (status, wanted) => {
    expect(saying(status, false)).toBe(wanted);
  });
});

describe("figures", () => {
  test("what nobody knows is a dash, never a zero", () => {
    expect([number(null), ms(undefined), money(null), number(Number.NaN)]).toEqual([
      "–",
      "–",
      "–",
      "–",
    ]);
    expect([number(0), ms(0)]).toEqual(["0", "0 ms"]);
  });

  test("small money keeps its digits", () => {
    expect(money("0.000123")).toContain("0.00012");
    expect(money("12.345")).toContain("12.3");
  });

  test("places in a queue are ordinals", () => {
    expect([1, 2, 3, 4, 11, 12, 13, 21, 102].map(ordinal)).toEqual([
      "1st",
      "2nd",
      "3rd",
      "4th",
      "11th",
      "12th",
      "13th",
      "21st",
      "102nd",
    ]);
  });

  test("a language is one that the browser knows", () => {
    expect([isLanguage("de-DE"), isLanguage("not a language")]).toEqual([true, false]);
  });

  test("the threshold is read out of the reason", () => {
    expect(thresholdIn("The score 0.91 is not under the route's threshold 0.50.")).toBe(0.5);
    expect(thresholdIn("The caller named the model.")).toBeNull();
  });
});

describe("the live feed", () => {
  const point = (at: number, requests: number) => ({
    at,
    requests,
    errors: 0,
    input_tokens: 0,
    output_tokens: 0,
    first_token_p50_ms: null,
    first_token_p95_ms: null,
  });
  const row = (request_id: string) => ({ request_id }) as Snapshot["requests"][number];

  test("a delta replaces what it names, puts requests in front and mends the growing point", () => {
    const had = {
      in_flight: 1,
      requests: [row("a")],
      history: [point(0, 1), point(5, 2)],
      targets: null,
    } as unknown as Snapshot;
    const next = merged(had, {
      in_flight: 3,
      requests: [row("c"), row("b")],
      history: [point(5, 4), point(10, 1)],
    });
    expect(next.in_flight).toBe(3);
    expect(next.requests.map((one) => one.request_id)).toEqual(["c", "b", "a"]);
    expect(next.history.map((one) => one.requests)).toEqual([1, 4, 1]);
  });

  test("it is bounded", () => {
    const had = { requests: [], history: [] } as unknown as Snapshot;
    const next = merged(had, {
      requests: Array.from({ length: 900 }, (_, at) => row(String(at))),
      history: [point(0, 1), point(5000, 1)],
    });
    expect(next.requests).toHaveLength(200);
    expect(next.history).toHaveLength(1);
  });
});

describe("the rest", () => {
  test("a schema that is not JSON says so", () => {
    expect(faultOf('{"type": "object"}')).toBe("");
    expect(faultOf("{")).toMatch(/not JSON yet/);
    expect(faultOf("[]")).toMatch(/object/);
  });

  test("the point on the curve is the one that holds", () => {
    const curve = [0, 0.3, 0.6, 1].map((strong_share) => ({
      strong_share,
      threshold: strong_share / 2,
      quality: 0,
      cost: null,
    }));
    expect(nearest(curve, { threshold: 0.16, target_strong_share: null }, 0.5)).toBe(1);
    expect(nearest(curve, { threshold: null, target_strong_share: 0.58 }, 0.5)).toBe(2);
    expect(nearest(curve, { threshold: null, target_strong_share: null }, 0.5)).toBe(3);
  });

  test("keys do nothing where somebody writes", () => {
    const box = document.createElement("textarea");
    const key = (target: EventTarget, init: KeyboardEventInit) =>
      Object.defineProperty(new KeyboardEvent("keydown", init), "target", { value: target });
    expect(shortcutOf(key(box, { key: "n" }))).toBeNull();
    expect(shortcutOf(key(box, { key: "k", ctrlKey: true }))).toBe("search");
    expect(shortcutOf(key(document.body, { key: "n" }))).toBe("new");
    expect(shortcutOf(key(document.body, { key: "g" }), 1000)).toBeNull();
    expect(shortcutOf(key(document.body, { key: "m" }), 1300)).toBe("go /monitoring");
    expect(shortcutOf(key(document.body, { key: "g" }), 2000)).toBeNull();
    expect(shortcutOf(key(document.body, { key: "m" }), 9000)).toBeNull();
  });
});
