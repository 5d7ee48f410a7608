"""Monitoring, Routing, Jobs and Usage, before a real gateway."""

from __future__ import annotations

import orjson
from playwright.async_api import expect

from tests.replay.gateway import ADMIN
from tests.replay.server import Play, ReplayServer, openai_error
from tests.web.site import ROOT, TOKEN, VERDICT, Site, a_site, streamed


async def asked(site: Site, count: int = 1) -> None:
    for number in range(count):
        body = {"message": f"Question {number}"}
        address = site.gateway.url + "/complete"
        async with site.gateway.session.post(address, json=body, headers=ADMIN) as response:
            assert b'"finish_reason":"stop"' in await response.read()


async def test_a_request_is_seen_as_it_ends_with_the_line_of_its_attempts() -> None:
    async with a_site() as site:
        site.hard.play(openai_error(503, "busy"))
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/monitoring")
        await expect(site.page.get_by_text("Nobody asked anything yet.")).to_be_visible()
        await asked(site)
        row = site.page.locator(".rows button.row")
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text("easy/m")
        await row.click()
        drawer = site.page.get_by_role("dialog", name="A request")
        await expect(drawer.locator(".attempt")).not_to_have_count(0)
        await expect(drawer.locator(".attempt").last).to_contain_text("easy/m")
        await site.page.keyboard.press("Escape")
        await expect(drawer).to_have_count(0)
        targets = site.page.get_by_role("region", name="Targets").locator("tbody tr")
        await expect(targets.filter(has_text="easy/m")).to_contain_text("well")
        await expect(targets.filter(has_text="hard/m")).to_contain_text("no answers")


async def test_where_nothing_is_known_nothing_is_drawn() -> None:
    async with a_site() as site:
        await asked(site)
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/monitoring")
        targets = site.page.get_by_role("region", name="Targets").locator("tbody tr")
        await expect(targets.filter(has_text="hard/m")).to_contain_text("well")
        await expect(targets.filter(has_text="easy/m")).to_contain_text("no answers")
        money = site.page.get_by_role("region", name="Money")
        await expect(money).to_contain_text("no prices are known")
        await expect(money.locator("svg")).to_have_count(0)


async def test_the_live_page_finds_its_way_back() -> None:
    async with a_site() as site:
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/monitoring")
        await expect(site.page.locator(".figures")).to_be_visible()
        site.line.cut()
        await expect(site.page.locator("main").get_by_role("alert")).to_contain_text("broke off")
        site.line.mend()
        await asked(site)
        await expect(site.page.locator(".rows button.row")).to_have_count(1)
        await expect(site.page.locator("main").get_by_role("alert")).to_have_count(0)


async def test_older_requests_come_page_by_page() -> None:
    async with a_site() as site:
        await asked(site, 120)
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/monitoring")
        rows = site.page.locator(".rows button.row")
        # The newest come live, the page behind them is read at once, the rest when it is wished;
        # of all of them only those are made that may be seen.
        await expect(rows.first).to_be_visible()
        await site.page.get_by_role("button", name="Older requests").press("Enter")
        await expect(site.page.locator("main")).to_contain_text("120 requests, and none before.")
        assert await rows.count() < 100
        await site.page.locator(".sheet").evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
        await rows.last.click()
        await expect(site.page.get_by_role("dialog", name="A request")).to_contain_text("hard/m")


async def test_the_point_on_the_curve_is_dragged_and_its_threshold_used() -> None:
    card = (ROOT / "models" / "router" / "card.json").read_bytes()
    verdict = Play(orjson.dumps(VERDICT), content_type="application/json")
    async with ReplayServer(verdict) as classifier:
        healthy = {"status": "ok", "version": "2-test", "golden": "ok", "refused": None}
        classifier.answers = {"/card": card, "/healthz": orjson.dumps(healthy)}
        async with a_site(classifier={"url": classifier.url, "timeout_ms": 5000}) as site:
            await asked(site, 3)
            await site.ready(f"/#token={TOKEN}")
            await site.page.goto(site.line.url + "/routing")
            curve = site.page.get_by_role("region", name="Quality against cost")
            slider = curve.get_by_role("slider")
            before = await slider.get_attribute("aria-valuetext")
            box = await curve.locator("svg").bounding_box()
            assert box is not None
            await site.page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 40)
            await site.page.mouse.down()
            await site.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60, steps=4)
            await site.page.mouse.up()
            dragged = await slider.get_attribute("aria-valuetext")
            assert dragged != before
            await slider.press("ArrowLeft")
            assert await slider.get_attribute("aria-valuetext") != dragged
            await curve.get_by_role("button", name="Use this threshold").click()
            await expect(curve).to_contain_text("It holds from the next question on.")
            route = site.gateway.services.settings.routes["auto"]
            assert route.threshold is not None
            assert route.threshold > 0.3
            decisions = site.page.get_by_role("region", name="Last decisions").first
            await expect(decisions).to_contain_text("maths")
            await site.page.get_by_role("button", name="Roll back").click()
            await expect(site.page.locator("main")).to_contain_text("The one before serves again.")
            assert classifier.received[-1].path == "/rollback"


async def test_a_job_is_put_in_followed_and_cancelled() -> None:
    async with a_site() as site:
        site.hard.play(streamed(" ".join(f"word{n}" for n in range(80)), 0.1, pieces=60))
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/jobs")
        await site.page.get_by_label("A question for later").fill("Later, please.")
        await site.page.get_by_role("button", name="Put in a job").click()
        rows = site.page.locator("tbody tr")
        await expect(rows).to_have_count(1)
        await rows.get_by_role("button", name="Later, please.").click()
        drawer = site.page.get_by_role("dialog", name="A job")
        await expect(drawer.locator(".job-question")).to_have_text("Later, please.")
        await expect(drawer).to_contain_text("word3")
        await site.page.keyboard.press("Escape")
        await rows.get_by_role("button", name="Cancel").click()
        await expect(rows).to_contain_text("cancelled")
        await site.hard.until_left()


async def test_usage_tells_tokens_lines_and_books() -> None:
    async with a_site() as site:
        await asked(site, 3)
        await site.ready(f"/#token={TOKEN}")
        # The ledger writes twice a second.
        await expect_used(site)
        await site.page.get_by_label("Grouped").select_option("model")
        await expect(site.page.locator("tbody")).to_contain_text("hard/m")
        async with site.page.expect_download() as waiting:
            await site.page.get_by_role("button", name="CSV").click()
        text = (await (await waiting.value).path()).read_text()
        assert text.startswith("provider,model,")


async def expect_used(site: Site) -> None:
    for _ in range(20):
        await site.page.goto(site.line.url + "/usage")
        if await site.page.locator("tbody tr").count():
            return
        await site.page.wait_for_timeout(250)
    await expect(site.page.locator("tbody tr")).to_have_count(1)
