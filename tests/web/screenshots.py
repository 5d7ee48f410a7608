"""`python -m tests.web.screenshots`: the README's pictures, from the running system.

The gateway, the classifier and the local model are the real ones. The strong tier is a server that
plays one recorded answer, as no key is needed for a picture; its prices are made up, and are those
of the picture only.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page

from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream
from tests.web.real import Real, real_parts
from tests.web.site import DIST, NARROW, ROOT, TOKEN, WIDE, chromium, require_page

PICTURES = ROOT / "docs" / "pictures"
HARD = "Prove that there are infinitely many primes of the form 4k + 3."
EASY = "Hi! Say something nice."
EVERYDAY = (
    "What is the capital of France?",
    "Thank you!",
    "Name three colours.",
    "Derive the Euler-Lagrange equation and apply it to the brachistochrone.",
    "Translate 'good morning' into Spanish.",
    "Find the race condition in a double-checked lock and prove that your fix is right.",
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
            prices={"lab/large": price, "local/*": {"input": 0, "output": 0}},
            routes={"auto": {"local": ["local/smollm2:135m"], "strong": ["lab/large"]}},
            web={"dist": str(DIST)},
        )
        async with running(given) as found:
            yield found


async def asked(found: Running) -> None:
    """Traffic for the other pages."""
    for text in EVERYDAY * 2:
        body = {"message": text, "max_tokens": 40}
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


async def shoot(found: Page, name: str) -> None:
    await found.mouse.move(0, 0)
    await found.wait_for_timeout(400)
    path = PICTURES / f"{name}.png"
    await found.screenshot(path=path)
    print(f"{path.relative_to(ROOT)} {path.stat().st_size // 1024} KB")


async def pictures() -> None:
    words = re.findall(r"\s*\S+", ANSWER)
    play = Play(openai_stream(*words), chunk=900, delay_s=0.02, before_s=0.3)
    async with real_parts() as real, ReplayServer(play) as strong, chromium() as browser:
        strong.answers["/v1/models"] = b'{"data": [{"id": "large"}]}'
        async with gateway(real, strong) as found:
            await asked(found)
            for name, size, dark in (
                ("chat", WIDE, False),
                ("chat-dark", WIDE, True),
                ("chat-narrow", NARROW, False),
            ):
                async with page(browser, found.url, size, dark) as one:
                    if name == "chat":
                        await shoot(one, "start")
                    await talk(one)
                    await shoot(one, name)
                    if name == "chat":
                        await one.locator(".whence").last.click()
                        await shoot(one, "why")
            for dark in (False, True):
                async with page(browser, found.url, WIDE, dark) as one:
                    for name in ("monitoring",) if dark else ("monitoring", "routing", "usage"):
                        await one.goto(f"{found.url}/{name}")
                        await one.wait_for_load_state("networkidle")
                        if name == "routing":
                            await one.get_by_label("A prompt to explain").fill(HARD)
                            await one.get_by_role("button", name="Explain").click()
                            await one.locator(".moved").wait_for()
                            await one.locator(".sheet").evaluate("(box) => box.scrollTo(0, 0)")
                        await one.wait_for_timeout(800)
                        await shoot(one, f"{name}-dark" if dark else name)


def main() -> int:
    require_page()
    PICTURES.mkdir(parents=True, exist_ok=True)
    asyncio.run(pictures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
