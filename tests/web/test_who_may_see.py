"""Signing in, and what a caller is not shown."""

from __future__ import annotations

import orjson
from playwright.async_api import Page, expect

from tests.replay.gateway import ADMIN
from tests.web.site import TOKEN, Site, a_site

OPERATORS = ["Routing", "App codes", "Settings"]


async def pages_of(page: Page) -> list[str]:
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    return await links.all_text_contents()


async def an_app_code(site: Site, name: str = "team-a") -> str:
    body = {"name": name}
    address = site.gateway.url + "/codes"
    async with site.gateway.session.post(address, json=body, headers=ADMIN) as response:
        assert response.status == 201
        code: str = orjson.loads(await response.read())["code"]
        return code


async def test_a_link_signs_in_and_its_token_leaves_the_address_at_once() -> None:
    async with a_site(access={"open": False, "admin_token": TOKEN}) as site:
        await site.ready(f"/#token={TOKEN}")
        assert site.page.url == site.line.url + "/"
        kept = await site.page.evaluate("() => sessionStorage.getItem('pointsman.token')")
        assert kept == TOKEN
        assert set(OPERATORS) <= set(await pages_of(site.page))
        assert await site.page.evaluate("() => history.length") <= 2
        assert not [url for url in site.requested if TOKEN in url.split("#")[0]]
        await site.page.get_by_role("button", name="Sign out").click()
        await expect(site.page.get_by_label("App code or admin token")).to_be_visible()


async def test_a_link_that_is_pasted_where_the_page_stands_already_signs_in_too() -> None:
    async with a_site() as site:
        await site.ready()
        assert not set(OPERATORS) & set(await pages_of(site.page))
        await site.page.evaluate("(token) => { location.hash = `#token=${token}`; }", TOKEN)
        await expect(site.page.get_by_role("link", name="Settings")).to_be_visible()
        assert site.page.url == site.line.url + "/"


async def test_without_a_token_a_gateway_that_asks_for_one_shows_its_door_alone() -> None:
    async with a_site(access={"open": False, "admin_token": TOKEN}) as site:
        await site.open("/monitoring")
        box = site.page.get_by_label("App code or admin token")
        await box.fill("wrong-token")
        await site.page.keyboard.press("Enter")
        await expect(site.page.get_by_role("alert")).to_contain_text("not known")
        await expect(site.page.get_by_role("navigation")).to_have_count(0)
        await box.fill(TOKEN)
        await site.page.keyboard.press("Enter")
        await expect(site.page.get_by_role("heading", name="Monitoring")).to_be_visible()


async def test_an_app_code_sees_its_own_and_no_page_of_the_operator() -> None:
    async with a_site(access={"open": False, "admin_token": TOKEN}) as site:
        await site.gateway.complete(message="not theirs")
        code = await an_app_code(site)
        await site.ready(f"/#token={code}")
        assert not set(OPERATORS) & set(await pages_of(site.page))
        await site.ask("Mine.")
        await site.answered()
        await site.page.goto(site.line.url + "/monitoring")
        await expect(site.page.locator(".rows button.row")).to_have_count(1)
        await expect(site.page.get_by_role("heading", name="Targets")).to_have_count(0)
        await site.page.goto(site.line.url + "/settings")
        await expect(site.page.locator("main")).to_contain_text("operator")


async def test_a_profile_and_how_the_pages_look_go_with_the_caller() -> None:
    async with a_site() as site:
        code, other = await an_app_code(site), await an_app_code(site, "team-b")
        await site.ready(f"/#token={code}")
        await site.page.goto(site.line.url + "/profile")
        await site.page.get_by_label("Name").fill("Ada")
        await site.page.get_by_label("E-mail").fill("ada@example.org")
        await site.page.get_by_role("button", name="Save").click()
        await expect(site.page.get_by_text("Saved.")).to_be_visible()
        async with site.page.expect_response("**/profile"):
            await site.page.get_by_text("Dark", exact=True).click()
        await site.page.get_by_label("Language of dates").fill("de-DE")
        async with site.page.expect_response("**/profile"):
            await site.page.keyboard.press("Tab")
        await expect(site.page.locator("main")).to_contain_text("1.234.567,8")
        for token, theme, name in ((code, "dark", "Ada"), (other, None, "")):
            context = await site.browser.new_context(color_scheme="light")
            page = await context.new_page()
            await page.goto(f"{site.line.url}/profile#token={token}")
            await expect(page.get_by_label("Name")).to_have_value(name)
            whole = page.locator(f"html[data-theme={theme}]" if theme else "html:not([data-theme])")
            await expect(whole).to_have_count(1)
            await expect(page.get_by_label(theme.title() if theme else "System")).to_be_checked()
            await expect(page.get_by_label("Language of dates")).to_have_value(
                "de-DE" if theme else ""
            )
            await expect(page.locator("main")).to_contain_text(
                "1.234.567,8" if name else "1,234,567.8"
            )
            await context.close()


async def test_a_code_is_made_shown_once_rotated_and_revoked() -> None:
    async with a_site() as site:
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/codes")
        await site.page.get_by_role("button", name="New code").click()
        await site.page.get_by_label("Name", exact=True).fill("team-a")
        await site.page.get_by_label("Requests").fill("nonsense")
        await site.page.get_by_role("button", name="Make the code").click()
        await expect(site.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
            "rate_limit"
        )
        await site.page.get_by_label("Requests").fill("100/hour")
        await site.page.get_by_role("button", name="Make the code").click()
        secret = await site.page.locator(".secret code").text_content()
        assert secret
        assert secret.startswith("pm-")
        await expect(site.page.locator("tbody")).to_contain_text("100/hour")
        await site.page.get_by_role("button", name="Rotate").click()
        await site.page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        await expect(site.page.locator(".secret code")).not_to_have_text(secret)
        await site.page.reload()
        await expect(site.page.locator("tbody")).to_contain_text("team-a")
        assert secret not in await site.page.content()
        await site.page.get_by_role("button", name="Revoke").click()
        await site.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(site.page.locator("tbody")).to_contain_text("revoked")


async def test_settings_are_tested_and_saved_and_no_key_is_ever_shown() -> None:
    async with a_site() as site:
        await site.ready(f"/#token={TOKEN}")
        await site.page.goto(site.line.url + "/settings")
        provider = site.page.get_by_role("region", name="hard")
        await provider.locator("summary").click()
        await provider.get_by_role("button", name="Test the connection").click()
        await expect(provider.get_by_role("status")).to_contain_text("1 models")
        await provider.get_by_label("Key").fill("sk-0123456789abcdef0123")
        await provider.get_by_role("button", name="Save").click()
        await expect(provider.locator("summary")).to_contain_text("set here")
        await expect(provider.get_by_label("Key")).to_have_value("••••0123")
        await provider.locator("summary").click()
        await provider.get_by_label("Address").fill("ftp://nowhere")
        await provider.get_by_role("button", name="Save").click()
        await expect(provider.get_by_role("alert")).to_contain_text("http")
        line = site.page.get_by_role("region", name="Where the line is")
        await line.get_by_text("A threshold").click()
        await line.get_by_role("slider").fill("0.7")
        await line.get_by_role("button", name="Save").click()
        await expect(line).to_contain_text("It holds from the next question on.")
        assert site.gateway.services.settings.routes["auto"].threshold == 0.7
