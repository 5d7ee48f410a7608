"""The page before the real classifier and the real local model."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.replay.gateway import openai_provider
from tests.web.real import real_parts
from tests.web.site import TOKEN, a_site

pytestmark = pytest.mark.slow


async def test_the_real_model_answers_is_stopped_rated_and_explained() -> None:
    async with real_parts() as real:
        local = {"kind": "openai", "base_url": real.local}
        async with a_site(
            classifier={"url": real.classifier, "timeout_ms": 5000},
            providers={"local": local, "hard": openai_provider("http://127.0.0.1:9")},
            routes={"auto": {"local": ["local/smollm2:135m"], "strong": ["hard/m"]}},
        ) as site:
            await site.ready(f"/#token={TOKEN}")
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
