"""`python -m tests.web.screenshots`: the README's pictures, from the running system.

The gateway, the classifier and the local model are the real ones. The strong tier is a server that
plays one recorded answer, as no key is needed for a picture; its prices are made up, and are those
of the picture only.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream
from tests.web.real import Real, real_parts
from tests.web.site import DIST, NARROW, ROOT, TOKEN, WIDE, chromium, require_page

PICTURES = ROOT / "docs" / "pictures"
SHOWN = (
    "start.png",
    "chat.png",
    "chat-dark.png",
    "chat-narrow.png",
    "why.png",
    "monitoring.png",
    "monitoring-dark.png",
    "request.png",
    "routing.png",
    "usage.png",
    "jobs.png",
)
HARD = "Prove that there are infinitely many primes of the form 4k + 3."
EASY = "Hi! Say something nice."
EVERYDAY = (
    "What is the capital of France?",
    "Thank you!",
    "Name three colours.",
    "Derive the Euler-Lagrange equation and apply it to the brachistochrone.",
    "Translate 'good morning' into Spanish.",
    "Find the race condition in a double-checked lock and prove that your fix is right.",
    "Write a haiku about rain.",
    "Summarise in one sentence: the meeting is moved to Friday, as the room is taken.",
    "Which planets have rings?",
    "Sort these by price: tea 3, coffee 4, water 1.",
    "Is 1,001 a prime?",
    "A train leaves at 9:40 and takes 95 minutes. When does it arrive?",
    "Write a regular expression for dates as 2026-11-21.",
    "Explain the difference between TCP and UDP to a child.",
    "Compare optimistic and pessimistic locking for a booking system with 50 writers a second.",
    "Compute the eigenvalues of [[2, 1], [1, 2]] and show each step.",
    "Draft a clause that limits liability for indirect damage under Swiss law, and name its risks.",
    "What's a good name for a cat?",
)
ANSWER = '''Suppose there were only finitely many primes of the form **4k + 3**, say `p₁ … pₙ`.

1. Let `N = 4·p₁·p₂ ⋯ pₙ − 1`. Then N ≡ 3 (mod 4).
2. A product of primes that are all ≡ 1 (mod 4) is itself ≡ 1 (mod 4), so *some* prime factor q \
of N is ≡ 3 (mod 4).
3. But no `pᵢ` divides N: each leaves the remainder −1.

So q is a prime of that form outside the list, a contradiction. Counting them:

```python
def primes(limit: int) -> list[int]:
    """All primes below the limit."""
    sieve = bytearray([1]) * limit
    for n in range(2, int(limit**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(sieve[n * n :: n]))
    return [n for n in range(2, limit) if sieve[n]]

print(sum(p % 4 == 3 for p in primes(10_000)))  # 619
```
'''


@asynccontextmanager
async def gateway(real: Real, strong: ReplayServer) -> AsyncGenerator[Running, None]:
    price: dict[str, Any] = {"input": 3, "output": 15, "date": "2026-11-21"}
    with tempfile.TemporaryDirectory() as folder:
        given = settings(
            store={"database": f"sqlite:///{folder}/pictures.db"},
            classifier={"url": real.classifier, "timeout_ms": 5000},
            providers={
                "local": {"kind": "openai", "base_url": real.local},
                "lab": openai_provider(strong.url),
            },
            feedback={"capture": True},
            prices={"lab/large": price, "local/*": {"input": 0, "output": 0}},
            routes={"auto": {"local": ["local/smollm2:135m"], "strong": ["lab/large"]}},
            web={"dist": str(DIST)},
        )
        async with running(given) as found:
            yield found


async def asked(found: Running) -> None:
    """Traffic for the other pages; not so much of these few prompts that it counts as drift."""
    for number, text in enumerate(EVERYDAY * 4):
        body = {"message": text, "max_tokens": 40 if number < len(EVERYDAY) else 4}
        async with found.session.post(found.url + "/complete", json=body, headers=ADMIN) as answer:
            await answer.read()


@asynccontextmanager
async def page(
    browser: Browser, url: str, size: tuple[int, int], dark: bool
) -> AsyncGenerator[Page, None]:
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
    )
    try:
        found = await context.new_page()
        await found.goto(f"{url}/#token={TOKEN}")
        await found.locator(".lamp.ready").wait_for(state="attached")
        yield found
    finally:
        await context.close()


async def talk(found: Page) -> None:
    for number, text in enumerate((EASY, HARD)):
        await found.fill("#question", text)
        await found.keyboard.press("Enter")
        await found.locator(".whence").nth(number).wait_for(timeout=60_000)


async def shoot(found: Page, name: str, folder: Path) -> None:
    await found.mouse.move(0, 0)
    await found.wait_for_timeout(500)
    path = folder / f"{name}.png"
    await found.screenshot(path=path)
    print(f"{path} {path.stat().st_size // 1024} KB")


async def explained(found: Page) -> None:
    await found.get_by_label("A prompt to explain").fill(HARD)
    await found.get_by_role("button", name="Explain", exact=True).click()
    await found.locator(".moved").wait_for()
    await found.locator(".sheet").evaluate("(box) => box.scrollTo(0, 0)")


async def jobs_put(found: Running) -> None:
    for text in (HARD, *EVERYDAY[:4]):
        body = {"message": text, "max_tokens": 40}
        async with found.session.post(found.url + "/jobs", json=body, headers=ADMIN) as answer:
            await answer.read()


async def codes_made(found: Running) -> None:
    for body in (
        {"name": "FlashCards", "rate_limit": "100/hour", "budget_month": "20"},
        {"name": "Support desk", "models": ["auto"], "tokens_day": 2_000_000},
    ):
        async with found.session.post(found.url + "/codes", json=body, headers=ADMIN) as answer:
            await answer.read()


async def first_pages(one: Page, folder: Path, ending: str) -> None:
    """The chat as it begins, with answers, and with the reason of one."""
    await shoot(one, "start" + ending, folder)
    await talk(one)
    await shoot(one, "chat" + ending, folder)
    await one.locator(".whence").last.click()
    await shoot(one, "why" + ending, folder)


async def other_pages(one: Page, url: str, folder: Path, ending: str) -> None:
    for name in ("monitoring", "routing", "usage", "jobs", "codes", "settings", "profile"):
        await one.goto(f"{url}/{name}")
        await one.wait_for_load_state("networkidle")
        if name == "routing":
            await explained(one)
        await one.wait_for_timeout(400)
        await shoot(one, name + ending, folder)
        if name == "monitoring":
            await one.locator(".rows button.row").first.click()
            await one.locator(".attempt").first.wait_for()
            await shoot(one, "request" + ending, folder)
        if name == "routing":
            for turn in range(1, 3):
                await one.locator(".sheet").evaluate("(box) => box.scrollBy(0, box.clientHeight)")
                await shoot(one, f"routing-{turn}{ending}", folder)


async def pictures(folder: Path, everything: bool) -> None:
    """The README's few, or every page wide and narrow, light and dark."""
    words = re.findall(r"\s*\S+", ANSWER)
    play = Play(openai_stream(*words), chunk=900, delay_s=0.02, before_s=0.3)
    looks = [("", WIDE, False), ("-dark", WIDE, True), ("-narrow", NARROW, False)]
    if everything:
        looks.append(("-narrow-dark", NARROW, True))
    async with real_parts() as real, ReplayServer(play) as strong, chromium() as browser:
        strong.answers["/v1/models"] = b'{"data": [{"id": "large"}]}'
        async with gateway(real, strong) as found:
            await asked(found)
            await codes_made(found)
            await jobs_put(found)
            for ending, size, dark in looks:
                async with page(browser, found.url, size, dark) as one:
                    await first_pages(one, folder, ending)
                    await other_pages(one, found.url, folder, ending)


def main() -> int:
    """With a folder: all of them, there. Without: those that the documentation shows."""
    require_page()
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(pictures(folder, everything=True))
        return 0
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(pictures(Path(made), everything=False))
        for name in SHOWN:
            shutil.copy(Path(made) / name, PICTURES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
