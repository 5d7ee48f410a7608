"""`python -m tests.web.million [rows]`: the pages before a ledger of a million requests.

Prints, for a page that was opened cold, how long it takes until its figures and rows are drawn, and
what a filter, a time, the drawer and the way down through ten thousand rows take.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from bench.rows import RARE, fill
from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS, DAYS
from tests.replay.gateway import ADMIN
from tests.web.site import TOKEN, Site, a_site

ROWS = 1_000_000
DOWN = 10_000
ROW, ROW_PX = ".rows button.row", 37
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
LONG = """() => {
  window.long_ms = [0];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) window.long_ms.push(one.duration);
  }).observe({ entryTypes: ["longtask"] });
}"""
LONGEST = "() => Math.max(...window.long_ms.splice(0), 0)"


@asynccontextmanager
async def before_a_ledger(folder: Path, rows: int, **tree: Any) -> AsyncGenerator[Site, None]:
    """A gateway that finds so many requests in its ledger, and the page before it."""
    url = f"sqlite:///{folder}/ledger.db"
    database = Database(url)
    await database.open()
    await fill(database, rows)
    await database.close()
    async with a_site(store={"database": url}, **tree) as site:
        yield site


async def took(site: Site, what: str, work: Callable[[], Awaitable[object]]) -> None:
    began = time.perf_counter()
    await work()
    await site.page.evaluate(DRAWN)
    took_ms = (time.perf_counter() - began) * 1000
    print(f"{what}: {took_ms:.0f} ms, longest task {await site.page.evaluate(LONGEST):.0f} ms")


async def opened(site: Site, path: str, shown: str) -> None:
    await site.page.goto(site.line.url + path, wait_until="commit")
    await site.page.evaluate(LONG)
    await site.page.locator(shown).first.wait_for()


async def down(site: Site, rows: int) -> None:
    """To the end of the list until so many rows came."""
    long = "(high) => document.querySelector('.rows').scrollHeight >= high"
    for count in range(100, rows + 1, 100):
        await site.page.evaluate("() => document.querySelector('.sheet').scrollTo(0, 1e9)")
        await site.page.wait_for_function(long, arg=count * ROW_PX)


async def walk(site: Site) -> None:
    page = site.page
    region = page.get_by_role("region", name="Requests").last
    await site.ready(f"/#token={TOKEN}")
    for number in range(2):
        again = "again" if number else "cold"
        await took(site, f"/monitoring, {again}", lambda: opened(site, "/monitoring", ROW))
        await took(site, f"/usage, {again}", lambda: opened(site, "/usage", "table tbody tr"))
    await page.get_by_text("a year", exact=True).click()
    await took(site, "/usage of a year", lambda: page.locator("tbody tr").nth(80).wait_for())
    await opened(site, "/monitoring", ROW)

    async def chosen(name: str, value: str) -> None:
        async with page.expect_response(lambda one: "/monitoring/requests?" in one.url):
            await page.get_by_label(name, exact=True).select_option(value)
        await page.locator(ROW).first.wait_for()

    await took(site, "only failed ones", lambda: chosen("Outcome", "failed"))
    await took(site, "failed at the strong tier", lambda: chosen("Tier", "strong"))
    await chosen("Outcome", "")
    await chosen("Tier", "")

    async def back() -> None:
        then = (datetime.now() - timedelta(days=60)).strftime("%Y-%m-%dT%H:%M")
        async with page.expect_response(lambda one: "until=" in one.url):
            await page.get_by_label("Ended before").fill(then)
        await page.locator(ROW).first.wait_for()

    await took(site, "sixty days back", back)
    await took(site, f"down through {DOWN} rows", lambda: down(site, DOWN))

    async def drawer() -> None:
        await region.locator(ROW).nth(-3).click()
        await page.get_by_role("dialog", name="A request").locator(".attempt").wait_for()

    await took(site, "the drawer of an old one", drawer)


async def a_rare_code(site: Site) -> str:
    """A new code, whose the few requests of the rare application now are."""
    address = site.gateway.url + "/codes"
    async with site.gateway.session.post(address, json={"name": "Rare"}, headers=ADMIN) as answer:
        made = await answer.json()
    async with site.gateway.services.database.begin() as connection:
        for table in (ATTEMPTS, DAYS):
            mine = table.c.caller_id == RARE
            await connection.execute(update(table).where(mine).values(caller_id=made["id"]))
    return str(made["code"])


async def of_one(site: Site) -> None:
    """An application with ten requests among all those."""
    code = await a_rare_code(site)
    context = await site.browser.new_context()
    site.page, had = await context.new_page(), site.page
    await site.ready(f"/#token={code}")
    await took(site, "/monitoring of a rare caller", lambda: opened(site, "/monitoring", ROW))
    await took(site, "/usage of a rare caller", lambda: opened(site, "/usage", "table tbody tr"))
    await context.close()
    site.page = had


async def measure(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with before_a_ledger(Path(folder), rows) as site:
            print(f"{rows} requests in the ledger")
            await of_one(site)
            await walk(site)


def main() -> int:
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
