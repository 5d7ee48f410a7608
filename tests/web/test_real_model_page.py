"""The page before the real classifier and the real local model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from tests.replay.gateway import ADMIN, openai_provider
from tests.web.real import real_parts
from tests.web.site import TOKEN, Site, a_site

pytestmark = pytest.mark.slow


STORY = "Write a long story about a signal box by the sea, its pointsman, and the night train."


@asynccontextmanager
async def real_site() -> AsyncGenerator[Site, None]:
    """The real model is the local tier; nobody is at the strong tier's address."""
    async with real_parts() as real:
        local = {"kind": "openai", "base_url": real.local}
        async with a_site(
            classifier={"url": real.classifier, "timeout_ms": 5000},
            providers={"local": local, "hard": openai_provider("http://127.0.0.1:9")},
            routes={"auto": {"local": ["local/smollm2:135m"], "strong": ["hard/m"]}},
        ) as site:
            await site.ready(f"/#token={TOKEN}")
            yield site


async def test_the_real_model_streams_over_a_cut_line_again_and_beside_another() -> None:
    async with real_site() as site:
        # It grows while it is written; the line goes and comes back; nothing is lost or paid twice.
        await site.ask(STORY)
        await expect(site.prose).to_have_text(re.compile(r"(\S+\s+){8}"), timeout=60_000)
        before = (await site.prose.text_content() or "").strip()
        site.line.cut()
        await expect(site.page.locator(".lamp.lost")).to_be_attached()
        site.line.mend()
        await site.page.locator(".whence").wait_for(timeout=120_000)
        whole = (await site.prose.text_content() or "").strip()
        assert whole.startswith(before[:40])
        assert len(whole) > len(before)
        assert await requests(site) == 1
        # Regenerated: two versions of one turn.
        await site.page.get_by_role("button", name="Regenerate").click()
        await expect(site.page.locator(".versions")).to_contain_text("2/2", timeout=120_000)
        # Side by side: auto, and the model by its name.
        await site.page.get_by_role("button", name="Side by side").click()
        await site.page.get_by_role("button", name="Model 2").click()
        await site.page.get_by_role("combobox", name="Model 2").fill("local/smollm2:135m")
        await site.page.keyboard.press("Enter")
        await site.ask("Say hello.")
        await site.page.locator(".whence").nth(2).wait_for(timeout=60_000)
        both = site.page.locator(".turn").last.locator(".prose")
        await expect(both).to_have_count(2)
        for prose in await both.all():
            assert (await prose.text_content() or "").strip()


async def requests(site: Site) -> int:
    async with asyncio.timeout(10):
        while True:
            address = site.gateway.url + "/monitoring"
            async with site.gateway.session.get(address, headers=ADMIN) as answer:
                count = int((await answer.json())["totals"]["requests"])
            if count:
                return count
            await asyncio.sleep(0.2)


async def test_the_real_model_answers_is_stopped_rated_and_explained() -> None:
    async with real_site() as site:
        await site.ask("Hi!")
        await site.answered()
        whence = site.page.locator(".whence")
        await expect(whence).to_contain_text("local/smollm2:135m")
        await expect(whence).to_contain_text("score")
        assert (await site.prose.text_content() or "").strip()
        await whence.click()
        await expect(site.page.locator(".why")).to_contain_text("chose local")
        await site.page.get_by_role("button", name="Good answer").click()
        await expect(site.page.get_by_role("button", name="Good answer")).to_have_attribute(
            "aria-pressed", "true"
        )
        # Hard for the classifier; nobody is at the strong tier's address.
        await site.ask("Derive the Euler-Lagrange equation for a field, step by step.")
        await expect(site.prose.nth(1)).not_to_be_empty()
        await site.page.keyboard.press("Escape")
        await site.answered(2)
        await expect(whence.nth(1)).to_contain_text("strong")
        await site.page.goto(site.line.url + "/monitoring")
        row = site.page.locator(".rows button.row").first
        await expect(row).to_contain_text("local/smollm2:135m")
        await row.click()
        await expect(site.page.locator(".timeline .attempt")).to_have_count(1)
        await site.page.goto(site.line.url + "/routing")
        await site.page.get_by_label("A prompt to explain").fill("Prove that 1 + 1 = 2.")
        await site.page.get_by_role("button", name="Explain", exact=True).click()
        await expect(site.page.locator(".moved .to-strong").first).to_be_visible()
