"""The network goes in the middle of an answer, and comes back."""

from __future__ import annotations

import asyncio

from playwright.async_api import expect

from tests.web.site import Site, a_site, streamed

WORDS = [f"word{n}" for n in range(150)]
TEXT = " ".join(WORDS)


async def half_an_answer(site: Site) -> None:
    site.hard.play(streamed(TEXT, delay_s=0.06, pieces=50))
    await site.ready()
    await site.ask("Go on, whatever happens.")
    await expect(site.prose).to_contain_text("word10 ")


async def whole_and_paid_once(site: Site) -> None:
    await site.answered()
    assert (await site.prose.text_content() or "").split() == WORDS
    assert len(site.hard.received) == 1


async def test_an_answer_goes_on_after_a_cut_and_is_asked_for_once() -> None:
    async with a_site() as site:
        await half_an_answer(site)
        site.line.cut()
        await expect(site.page.locator(".lamp.lost")).to_be_attached()
        await expect(site.page.locator(".answer")).to_contain_text("The connection broke")
        await asyncio.sleep(0.5)
        site.line.mend()
        await whole_and_paid_once(site)


async def test_several_cuts_lose_and_repeat_nothing() -> None:
    async with a_site() as site:
        site.hard.play(streamed(TEXT, delay_s=0.08, pieces=50))
        await site.ready()
        await site.ask("Go on, whatever happens.")
        for word in ("word5 ", "word30 ", "word60 "):
            await expect(site.prose).to_contain_text(word)
            site.line.cut()
            await asyncio.sleep(0.1)
            site.line.mend()
        await whole_and_paid_once(site)


async def test_a_page_that_is_loaded_again_takes_up_its_answer() -> None:
    async with a_site() as site:
        await half_an_answer(site)
        await site.page.reload()
        await whole_and_paid_once(site)


async def test_a_question_that_was_asked_without_a_line_is_answered_when_it_is_back() -> None:
    async with a_site() as site:
        await site.ready()
        site.line.cut()
        await expect(site.page.locator(".lamp.lost")).to_be_attached()
        await site.ask("Are you there?")
        await expect(site.page.locator(".doing")).to_contain_text("Waiting for the connection")
        site.line.mend()
        await expect(site.prose).to_have_text("A long answer.")
        assert len(site.hard.received) == 1


async def test_where_sockets_are_blocked_answers_stream_over_plain_http() -> None:
    async with a_site() as site:
        site.line.no_sockets = True
        site.hard.play(streamed(TEXT, delay_s=0.05, pieces=20), streamed("Second."))
        await site.ready()
        await expect(site.page.locator(".ask-under")).to_contain_text("Sockets are blocked")
        await site.ask("Over HTTP then.")
        await expect(site.prose).to_contain_text("word3 ")
        assert "word149" not in (await site.prose.text_content() or "")
        await site.answered()
        await expect(site.page.locator(".whence")).to_contain_text("hard/m")
        await site.page.get_by_role("button", name="JSON schema").click()
        await site.ask("As JSON.")
        await site.answered(2)
        assert site.hard.received[1].body["response_format"]["type"] == "json_schema"
        await site.page.goto(site.line.url + "/monitoring")
        await expect(site.page.locator(".rows button.row")).to_have_count(2)


async def test_stop_works_over_plain_http() -> None:
    async with a_site() as site:
        site.line.no_sockets = True
        site.hard.play(streamed(TEXT, delay_s=0.2, pieces=50))
        await site.ready()
        await site.ask("Over HTTP then.")
        await expect(site.prose).to_contain_text("word3 ")
        await site.page.keyboard.press("Escape")
        await site.hard.until_left()
        await expect(site.page.get_by_role("button", name="Regenerate")).to_be_visible()


async def test_a_second_tab_leaves_the_answer_to_the_first_and_shows_it_whole() -> None:
    async with a_site() as site:
        await half_an_answer(site)
        second = await site.context.new_page()
        await second.goto(site.page.url)
        await site.answered()
        assert (await site.prose.text_content() or "").split() == WORDS
        await expect(second.locator(".whence")).to_be_visible()
        assert (await second.locator(".prose").text_content() or "").split() == WORDS
        assert len(site.hard.received) == 1
