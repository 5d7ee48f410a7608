"""`python -m tests.web.frames`: how the page keeps up with an answer that pours in.

Prints the first paint of a cold page, and the frames while some 200 tokens a second are shown.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

from tests.replay.server import Play, openai_stream
from tests.web.site import a_site

PARAGRAPH = "Some **bold** words and `code` in a paragraph that wraps over a few lines of the page."
CODE = "```python\n" + "\n".join(f"def f{n}(x): return x + {n}" for n in range(60)) + "\n```"
TEXT = "\n\n".join(([PARAGRAPH] * 12 + [CODE] + ["- one of a list\n- two of it"] * 10) * 2)
COUNT = """() => {
  window.frames_ms = []; window.long_ms = []; let last = performance.now();
  const beat = (now) => {
    window.frames_ms.push(now - last);
    last = now;
    requestAnimationFrame(beat);
  };
  requestAnimationFrame(beat);
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) window.long_ms.push(one.duration);
  }).observe({ entryTypes: ["longtask"] });
  window.began = performance.now();
}"""
READ = """() => ({
  frames: window.frames_ms,
  long: window.long_ms,
  seconds: (performance.now() - window.began) / 1000,
})"""
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null"""


async def measure() -> None:
    words = re.findall(r"\s*\S+", TEXT)
    body = openai_stream(*words)
    async with a_site() as site:
        site.hard.play(Play(body, chunk=len(body) // len(words), delay_s=0.004))
        await site.ready()
        print(f"first contentful paint {await site.page.evaluate(PAINT):.0f} ms")
        await site.ask("Pour.")
        await site.prose.wait_for()
        await site.page.evaluate(COUNT)
        await site.answered()
        found: dict[str, Any] = await site.page.evaluate(READ)
    frames, seconds = sorted(found["frames"]), found["seconds"]
    print(
        f"{len(words)} tokens, {len(words) / seconds:.0f} a second: "
        f"{len(frames) / seconds:.1f} frames a second, "
        f"p99 {frames[int(len(frames) * 0.99)]:.1f} ms, longest {frames[-1]:.0f} ms, "
        f"{len(found['long'])} tasks over 50 ms"
    )


def main() -> int:
    asyncio.run(measure())
    return 0


if __name__ == "__main__":
    sys.exit(main())
