"""A candidate beside the active classifier, promoted and rolled back from the page: all real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from playwright.async_api import expect

from tests.classifier.candidates import candidate
from tests.classifier.service import SHIPPED, running
from tests.replay.gateway import ADMIN
from tests.web.site import TOKEN, Site, a_site
from tests.web.test_operator_pages import asked


async def serves(site: Site, version: str) -> None:
    """Every worker looks at its shelf now and again."""
    async with asyncio.timeout(20):
        while True:
            async with site.gateway.session.get(site.gateway.url + "/routing", headers=ADMIN) as it:
                if (await it.json())["card"]["version"] == version:
                    return
            await asyncio.sleep(0.1)


async def test_a_candidate_is_seen_promoted_and_rolled_back_in_the_browser(tmp_path: Path) -> None:
    shadow = candidate(tmp_path / "candidate", "2-new")
    shipped = json.loads((SHIPPED / "card.json").read_text())["version"]
    models = str(tmp_path / "models")
    with running(CLASSIFIER_MODELS=models, CLASSIFIER_SHADOW=str(shadow)) as service:
        async with a_site(classifier={"url": service.url, "timeout_ms": 5000}) as site:
            await asked(site, 5)
            await site.ready(f"/#token={TOKEN}")
            await site.page.goto(site.line.url + "/routing")
            main = site.page.locator("main")
            await expect(main).to_contain_text(shipped)
            await expect(main).to_contain_text("2-new")
            await site.page.get_by_role("button", name="Promote the candidate").click()
            await expect(main).to_contain_text("The candidate serves now.")
            await serves(site, "2-new")
            await asked(site, 3)
            await site.page.reload()
            await site.page.get_by_role("button", name="Roll back").click()
            await expect(main).to_contain_text("The one before serves again.")
            await serves(site, shipped)
