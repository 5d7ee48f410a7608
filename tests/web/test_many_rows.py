"""A ledger that was filled long before the page was opened: all of it can be looked at."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from tests.web.million import a_rare_code, before_a_ledger, down
from tests.web.site import TOKEN

ROWS = 30_000
MADE_AT_MOST = 120
"""Rows in the document, however many were read."""


async def test_old_requests_are_scrolled_filtered_and_opened(tmp_path: Path) -> None:
    async with before_a_ledger(tmp_path, ROWS) as site:
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/monitoring")
        rows = site.page.locator(".rows button.row")
        await expect(rows.first).to_be_visible()
        await down(site, 1000)
        assert await rows.count() < MADE_AT_MOST
        await rows.last.click()
        drawer = site.page.get_by_role("dialog", name="A request")
        await expect(drawer.locator(".attempt")).to_have_count(1)
        await expect(drawer).to_contain_text("The classifier scored it")
        await site.page.keyboard.press("Escape")
        await expect(drawer).to_have_count(0)
        await site.page.get_by_label("Outcome").select_option("failed")
        await expect(site.page.locator(".rows .state.good")).to_have_count(0)
        await expect(rows.first).to_be_visible()
        await site.page.get_by_label("Outcome").select_option("")
        await site.page.get_by_label("Ended before").fill("2020-01-01T00:00")
        await expect(site.page.get_by_text("No request like that.")).to_be_visible()
        await site.page.goto(site.line.url + "/usage")
        await site.page.get_by_text("a year", exact=True).click()
        await expect(site.page.locator(".figures")).to_contain_text("30,000")


async def test_a_caller_with_one_request_among_many_finds_it(tmp_path: Path) -> None:
    async with before_a_ledger(tmp_path, ROWS) as site:
        await site.ready(f"/#token={await a_rare_code(site)}")
        await site.page.goto(site.line.url + "/monitoring")
        await expect(site.page.locator(".rows button.row")).to_have_count(1)
        await expect(site.page.locator("main")).to_contain_text("1 request, and none before.")
