"""What the page loads, how much of it, and from where; and whether everybody can use it."""

from __future__ import annotations

import gzip
import re
from typing import Any

import orjson
import pytest
from playwright.async_api import expect

from tests.replay.gateway import ADMIN
from tests.web.site import DIST, NARROW, ROOT, TOKEN, WIDE, Site, a_site, require_page

PAGES = ("/", "/monitoring", "/routing", "/jobs", "/usage", "/codes", "/settings", "/profile")
FIRST_VIEW_BYTES = 260 * 1024
TABLES = ("/monitoring", "/jobs", "/usage", "/codes")
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


def gzipped(name: str) -> int:
    return len(gzip.compress((DIST / name).read_bytes(), 9))


def test_the_first_view_is_under_260_kilobytes() -> None:
    require_page()
    html = (DIST / "index.html").read_text()
    names = re.findall(r'(?:src|href)="/([^"]+\.(?:js|css|svg))"', html)
    manifest = orjson.loads((DIST / ".vite" / "manifest.json").read_bytes())
    entry = next(row for row in manifest.values() if row.get("isEntry"))
    names += [manifest[one]["file"] for one in entry.get("imports", [])] + entry.get("css", [])
    sizes = {name: gzipped(name) for name in sorted({"index.html", *names})}
    assert entry["file"] in sizes
    assert sum(sizes.values()) < FIRST_VIEW_BYTES, sizes
    # Charts and the pages that draw them come when they are looked at.
    draws = {path for path in DIST.glob("assets/*.js") if "u-legend" in path.read_text()}
    assert draws
    assert not draws & {DIST / name for name in sizes}


def test_no_address_of_elsewhere_and_nothing_inline_stands_in_the_page() -> None:
    require_page()
    html = (DIST / "index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!/[^/])', html)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    assert '"resolved"' not in (ROOT / "web" / "package-lock.json").read_text()


async def test_every_page_keeps_to_the_policy_and_asks_nobody_else() -> None:
    async with a_site() as site:
        await site.ready(f"/#token={TOKEN}")
        await site.ask("Hello.")
        await site.answered()
        found = await site.violations()
        for path in PAGES:
            await site.ready(path)
            await expect(site.page.locator("main h1, #question").first).to_be_visible()
            await site.page.wait_for_load_state("networkidle")
            found += await site.violations()
        assert found == []
        assert site.complaints == []
        strangers = [url for url in site.requested if not url.startswith(site.line.url)]
        assert [url for url in strangers if not url.startswith(("blob:", "data:"))] == []


async def test_the_doors_are_described_from_our_own_files() -> None:
    async with a_site() as site:
        await site.open("/docs")
        door = site.page.locator(".opblock").filter(has_text="/complete").first
        await expect(door).to_be_visible()
        assert [url for url in site.requested if not url.startswith((site.line.url, "data:"))] == []
        assert site.complaints == []


async def violations_of(site: Site) -> list[str]:
    if not AXE.is_file():
        pytest.fail("axe-core is not installed: run `make web`")
    report: dict[str, Any] = await site.page.evaluate(
        "async (source) => { if (!window.axe) (0, eval)(source); return await axe.run(); }",
        AXE.read_text(),
    )
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]}"
        for one in report["violations"]
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing_serious(size: tuple[int, int], scheme: str) -> None:
    async with a_site(size, scheme, bypass_csp=True) as site:
        await site.ready(f"/#token={TOKEN}")
        found = {"hello": await violations_of(site)}
        await site.ask("Hello.")
        await site.answered()
        await site.page.locator(".whence").click()
        found["answer"] = await violations_of(site)
        await site.page.get_by_role("button", name=re.compile("^Model: ")).click()
        found["picker"] = await violations_of(site)
        for path in PAGES[1:]:
            await site.ready(path)
            await expect(site.page.locator("main h1").first).to_be_visible()
            await site.page.wait_for_load_state("networkidle")
            found[path] = await violations_of(site)
        await site.page.goto(site.line.url + "/codes")
        await site.page.get_by_role("button", name="New code").click()
        found["dialog"] = await violations_of(site)
        assert {name: one for name, one in found.items() if one} == {}


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_is_wider_than_a_phone(path: str) -> None:
    async with a_site(NARROW, touch=True) as site:
        for door, body in (
            ("/complete", {"message": "Name three colours."}),
            ("/codes", {"name": "Desk of desks " * 4 + "x" * 60, "rate_limit": "100/hour"}),
            ("/jobs", {"message": "Why is it blue? " * 20}),
        ):
            async with site.gateway.session.post(
                site.gateway.url + door, json=body, headers=ADMIN
            ) as answer:
                assert answer.status < 300, await answer.text()
        await site.ready(f"/#token={TOKEN}")
        await site.ready(path)
        await expect(site.page.locator("main h1, #question").first).to_be_visible()
        await site.page.wait_for_load_state("networkidle")
        wide = await site.page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= NARROW[0]
        tables = site.page.locator(".grid-box:has(table)")
        if path in TABLES:
            await expect(tables).not_to_have_count(0)
        over = "(boxes) => boxes.map((box) => box.scrollWidth - box.clientWidth)"
        assert max(await tables.evaluate_all(over), default=0) <= 0


async def test_on_a_phone_the_menu_opens_and_leads_on() -> None:
    async with a_site(NARROW, touch=True) as site:
        await site.ready()
        menu = site.page.get_by_role("link", name="Monitoring")
        await expect(menu).not_to_be_visible()
        await site.page.get_by_role("button", name="Menu", exact=True).click()
        await menu.click()
        await expect(site.page.get_by_role("heading", name="Monitoring")).to_be_visible()
        await expect(menu).not_to_be_visible()


async def test_the_chosen_theme_is_there_before_the_first_paint() -> None:
    async with a_site() as site:
        await site.ready("/profile")
        await site.page.get_by_text("Dark", exact=True).click()
        await site.ready("/")
        chosen = "() => getComputedStyle(document.documentElement).colorScheme"
        assert await site.page.evaluate(chosen) == "dark"
