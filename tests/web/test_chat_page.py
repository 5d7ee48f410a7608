"""The chat in a real browser, before a real gateway."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import orjson
from playwright.async_api import expect

from tests.replay.server import Play, ReplayServer, openai_error, openai_stream
from tests.web.site import VERDICT, Site, a_site, streamed

LONG = " ".join(f"word{n}" for n in range(120))
MARKDOWN = """## A heading

Some **bold** words and `code`.

```python
print("hello")
```

| a | b |
|---|--:|
| 1 | 2 |

<img src="https://elsewhere.example/x.png" onerror="alert(1)">
"""


def asked_of(site: Site) -> list[str]:
    """What the two upstreams were asked, by their last message."""
    received = [*site.easy.received, *site.hard.received]
    return [one.body["messages"][-1]["content"] for one in received]


async def test_an_answer_grows_while_it_is_written_and_says_where_it_came_from() -> None:
    async with a_site() as site:
        site.hard.play(streamed(LONG, delay_s=0.05, pieces=20))
        await site.ready()
        await site.ask("Tell me something long.")
        await expect(site.prose).to_contain_text("word3")
        assert "word119" not in (await site.prose.text_content() or "")
        await expect(site.prose).to_contain_text("word119")
        await site.answered()
        whence = site.page.locator(".whence")
        await expect(whence).to_contain_text("hard/m")
        await expect(whence).to_contain_text("strong")
        await expect(whence).to_contain_text("120 tokens")
        await whence.click()
        await expect(site.page.locator(".why")).to_contain_text("The classifier gave no answer")


async def test_markdown_is_shown_as_elements_and_no_tag_of_the_model_comes_to_life() -> None:
    async with a_site() as site:
        site.hard.play(Play(openai_stream(*re.findall(r"\s*\S+", MARKDOWN)), chunk=300))
        await site.ready()
        await site.ask("Write Markdown.")
        await site.answered()
        await expect(site.prose.locator("strong")).to_have_text("bold")
        await expect(site.prose.locator("pre")).to_have_text('print("hello")')
        await expect(site.prose.locator("td").nth(1)).to_have_text("2")
        await expect(site.prose.locator("img")).to_have_count(0)
        await site.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await site.page.get_by_role("button", name="Copy the code").click()
        copied = await site.page.evaluate("() => navigator.clipboard.readText()")
        assert copied == 'print("hello")'


async def test_stop_frees_the_upstream_and_keeps_what_came() -> None:
    async with a_site() as site:
        site.hard.play(Play(openai_stream(*LONG.split(" ")), stall=2000))
        await site.ready()
        await site.ask("Tell me something long.")
        await expect(site.prose).to_contain_text("word2")
        await site.page.get_by_role("button", name="Stop").click()
        await site.hard.until_left()
        await site.answered()
        await expect(site.prose).to_contain_text("word2")
        await site.page.locator(".whence").click()
        await expect(site.page.locator(".why")).to_contain_text("stopped by you")


async def test_regenerated_answers_are_versions_of_one_turn() -> None:
    async with a_site() as site:
        site.hard.play(streamed("The first answer."), streamed("The second answer."))
        await site.ready()
        await site.ask("Which one?")
        await site.answered()
        await site.page.get_by_role("button", name="Regenerate").click()
        await expect(site.prose).to_have_text("The second answer.")
        await expect(site.page.locator(".versions")).to_contain_text("2/2")
        await site.page.get_by_role("button", name="The version before").click()
        await expect(site.prose).to_have_text("The first answer.")


async def test_retry_elsewhere_asks_the_model_that_was_chosen() -> None:
    async with a_site() as site:
        site.easy.play(streamed("From the other one."))
        await site.ready()
        await site.ask("Who answers?")
        await site.answered()
        await site.page.get_by_role("button", name="Retry elsewhere").click()
        await site.page.get_by_role("combobox", name="Retry elsewhere").fill("easy/other")
        await site.page.keyboard.press("Enter")
        await expect(site.prose).to_have_text("From the other one.")
        assert site.easy.received[0].body["model"] == "other"


async def test_an_edited_question_is_asked_again_and_drops_what_came_after() -> None:
    async with a_site() as site:
        await site.ready()
        await site.ask("First question")
        await site.answered()
        await site.ask("Second question")
        await site.answered(2)
        await site.page.locator(".asked").first.hover()
        await site.page.get_by_role("button", name="Edit and ask again").first.click()
        await site.page.get_by_label("Edit the question").fill("Another question")
        await site.page.keyboard.press("Enter")
        await expect(site.page.locator(".turn")).to_have_count(1)
        await site.answered()
        assert asked_of(site) == ["First question", "Second question", "Another question"]


async def test_ratings_reach_the_gateway_with_the_request() -> None:
    async with a_site() as site:
        await site.ready()
        await site.ask("Rate me.")
        await site.answered()
        sent: list[object] = []
        site.page.on(
            "request",
            lambda one: sent.append(one.post_data_json) if "/feedback" in one.url else None,
        )
        for name in ("Good answer", "This should have gone to the local tier"):
            button = site.page.get_by_role("button", name=name)
            await button.click()
            await expect(button).to_have_attribute("aria-pressed", "true")
        request_id = site.hard.received and sent[0]["request_id"]  # type: ignore[index]
        assert sent == [
            {"request_id": request_id, "value": "good"},
            {"request_id": request_id, "value": "other_tier"},
        ]


async def test_two_models_answer_side_by_side_and_one_goes_on() -> None:
    async with a_site() as site:
        site.hard.play(streamed("Left."), streamed("More of it."))
        site.easy.play(streamed("Right."), streamed("More of that."))
        await site.ready()
        await site.page.get_by_role("button", name="Side by side").click()
        await site.page.get_by_role("button", name="Model 2").click()
        await site.page.get_by_role("combobox", name="Model 2").fill("easy/m")
        await site.page.keyboard.press("Enter")
        await site.ask("Left or right?")
        await site.answered(2)
        await expect(site.prose).to_have_text(["Left.", "Right."])
        await site.page.get_by_role("button", name="Go on from this one").click()
        await site.page.get_by_role("button", name="Side by side").click()
        await site.ask("And then?")
        await site.answered(3)
        turns = site.hard.received[-1].body["messages"]
        assert [one["content"] for one in turns] == ["Left or right?", "Right.", "And then?"]


async def test_before_the_first_token_it_says_what_happens() -> None:
    async with a_site() as site:
        site.hard.play(openai_error(503, "busy"))
        first_token = asyncio.Event()
        site.easy.play(replace(streamed("At last."), held=first_token))
        await site.ready()
        await site.ask("Who is there?")
        await expect(site.page.locator(".doing")).to_contain_text("easy/m")
        await expect(site.page.locator(".doing-steps").first).to_contain_text("hard/m")
        first_token.set()
        await site.answered()
        await expect(site.page.locator(".whence")).to_contain_text("failed")


async def test_it_says_that_the_classifier_is_asked_and_that_a_model_is_loading() -> None:
    decided, loaded = asyncio.Event(), asyncio.Event()
    verdict = Play(orjson.dumps(VERDICT), content_type="application/json", held=decided)
    async with ReplayServer(verdict) as classifier, ReplayServer(streamed("At last.")) as own:
        own.play(replace(streamed("At last."), held=loaded))
        async with a_site(
            classifier={"url": classifier.url, "timeout_ms": 10_000},
            providers={"vllm": {"base_url": own.url + "/v1"}},
            routes={"auto": {"local": ["vllm/m"], "strong": ["vllm/m"]}},
        ) as site:
            await site.ready()
            await site.ask("Is somebody there?")
            doing = site.page.locator(".doing")
            await expect(doing).to_contain_text("Routing")
            decided.set()
            await expect(doing).to_contain_text("Asking vllm/m")
            await expect(doing).to_contain_text("vllm/m is loading the model")
            loaded.set()
            await site.answered()
            await expect(site.page.locator(".whence")).to_contain_text("score 0.21")


async def test_a_caller_in_a_queue_is_told_his_place() -> None:
    route = {"local": ["easy/m"], "strong": ["hard/m"], "max_in_flight": 1, "queue": True}
    async with a_site(routes={"auto": route}) as site:
        site.hard.play(streamed(LONG, delay_s=0.1, pieces=30), streamed("Your turn."))
        await site.ready()
        first = asyncio.create_task(site.gateway.complete(message="I was here first."))
        await site.hard.until_received()
        await site.ask("And I?")
        await expect(site.page.locator(".doing")).to_contain_text(
            re.compile(r"Queued 1st, about \d+ s")
        )
        await expect(site.prose).to_have_text("Your turn.")
        assert (await first).closing["finish_reason"] == "stop"


async def test_an_error_stands_where_it_happened_with_what_to_do() -> None:
    async with a_site() as site:
        site.hard.play(openai_error(500, "broken"))
        site.easy.play(openai_error(500, "broken"))
        await site.ready()
        await site.ask("Will it fail?")
        alert = site.page.locator(".answer").get_by_role("alert")
        await expect(alert).to_be_visible()
        site.hard.play(streamed("Now it works."))
        await alert.get_by_role("button", name="Ask again").click()
        await expect(site.prose).to_have_text("Now it works.", timeout=30_000)


async def test_a_schema_makes_an_answer_of_json() -> None:
    async with a_site() as site:
        site.hard.play(streamed('{"answer": "yes"}'))
        await site.ready()
        await site.page.get_by_role("button", name="JSON schema").click()
        await site.ask("Yes or no?")
        await site.answered()
        await expect(site.prose.locator("pre")).to_contain_text('"answer": "yes"')
        asked = site.hard.received[0].body["response_format"]
        assert asked["json_schema"]["schema"]["required"] == ["answer"]


async def test_a_pasted_picture_goes_with_the_question() -> None:
    async with a_site() as site:
        await site.ready()
        await site.page.evaluate(
            """async () => {
              const canvas = new OffscreenCanvas(40, 30);
              canvas.getContext("2d").fillRect(0, 0, 40, 30);
              const file = new File([await canvas.convertToBlob()], "p.png", {type: "image/png"});
              const data = new DataTransfer();
              data.items.add(file);
              document.getElementById("question").dispatchEvent(
                new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
            }"""
        )
        await expect(site.page.get_by_role("img", name="picture 1")).to_be_visible()
        await site.ask("What is on it?")
        await site.answered()
        parts = site.hard.received[0].body["messages"][0]["content"]
        assert [part["type"] for part in parts] == ["text", "image_url"]
        assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")
        assert await site.violations() == []


async def test_conversations_are_kept_searched_renamed_exported_and_deleted() -> None:
    async with a_site() as site:
        await site.ready()
        await site.ask("About vermilion signals")
        await site.answered()
        await site.page.get_by_role("link", name="New conversation").click()
        await site.ask("About green lines")
        await site.answered()
        await site.ready()
        rows = site.page.locator(".talk")
        await expect(rows).to_have_count(2)
        await site.page.get_by_label("Search conversations").fill("vermilion")
        await expect(rows).to_have_count(1)
        await rows.hover()
        await rows.get_by_role("button", name="Rename").click()
        await site.page.get_by_label("Name of the conversation").fill("Signals")
        await site.page.keyboard.press("Enter")
        await expect(rows.get_by_role("link")).to_have_text("Signals")
        await rows.hover()
        async with site.page.expect_download() as waiting:
            await rows.get_by_role("button", name="Export").click()
        download = await waiting.value
        assert download.suggested_filename == "Signals.md"
        text = (await download.path()).read_text()
        assert "About vermilion signals" in text
        assert "A long answer." in text
        await rows.hover()
        await rows.get_by_role("button", name="Delete").click()
        await site.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await site.page.get_by_label("Search conversations").fill("")
        await expect(rows).to_have_count(1)
        await site.ready()
        await expect(rows.get_by_role("link")).to_have_text("About green lines")


async def test_the_keyboard_is_enough() -> None:
    async with a_site() as site:
        site.hard.play(streamed("One."), streamed("Two."))
        await site.ready()
        await site.page.locator("body").click(position={"x": 640, "y": 20})
        await site.page.keyboard.press("?")
        await expect(site.page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
        await site.page.keyboard.press("Escape")
        await site.page.keyboard.press("/")
        await site.page.keyboard.type("By keyboard")
        await site.page.keyboard.press("Enter")
        await site.answered()
        await site.page.evaluate("() => document.activeElement.blur()")
        await site.page.keyboard.press("r")
        await expect(site.prose).to_have_text("Two.")
        await site.page.keyboard.press("g")
        await site.page.keyboard.press("m")
        await expect(site.page.get_by_role("heading", name="Monitoring")).to_be_visible()


async def test_nothing_moves_while_an_answer_pours_in() -> None:
    async with a_site() as site:
        site.hard.play(
            Play(openai_stream(*(LONG + "\n\n" + MARKDOWN).split(" ")), chunk=400, delay_s=0.02)
        )
        await site.ready()
        await asyncio.sleep(0.3)
        await site.page.evaluate("() => { window.shifts = 0; }")
        await site.ask("Pour.")
        await site.answered()
        assert await site.page.evaluate("() => window.shifts") < 0.02
