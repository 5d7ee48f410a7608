"""/docs in a real browser: our own files only, and "try it out" works."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.openapi.upstream import settings_with, upstream
from tests.replay.gateway import running

DIST = Path(__file__).parents[2] / "web/dist"
CHROMIUM = "/usr/bin/chromium"


@pytest.mark.slow
@pytest.mark.skipif(
    not (DIST / "swagger/swagger-ui-bundle.js").exists(), reason="the page is not built: make web"
)
async def test_a_door_is_tried_out_in_the_browser_and_nothing_comes_from_elsewhere() -> None:
    async with (
        upstream() as url,
        running(settings_with(url, web={"dist": str(DIST)})) as gateway,
        async_playwright() as driver,
    ):
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        try:
            await page.goto(gateway.url + "/docs")
            await page.wait_for_selector(".opblock", timeout=20_000)
            assert await page.locator(".opblock").count() > 30
            block = page.locator("#operations-Health-get_healthz")
            await block.locator(".opblock-summary-control").click()
            await block.locator("button.execute").click()
            body = block.locator(".live-responses-table tbody .response-col_description")
            await body.first.wait_for(timeout=10_000)
            assert '"ok"' in await body.first.inner_text()
            block = page.locator("#operations-Chat-post_complete")
            await block.locator(".opblock-summary-control").click()
            await block.locator("button.execute").click()
            body = block.locator(".live-responses-table tbody .response-col_description")
            await body.first.wait_for(timeout=10_000)
            assert "Red" in await body.first.inner_text()
        finally:
            await browser.close()
    elsewhere = [one for one in asked if not one.startswith((gateway.url, "data:", "blob:"))]
    assert elsewhere == []
    assert faults == []
