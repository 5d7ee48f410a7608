"""URLs that a caller writes into a question: those that point inside are refused by name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

INSIDE = (
    "http://127.0.0.1/a.png",
    "http://127.0.0.1:8080/settings",
    "http://localhost/a.png",
    "https://pictures.localhost/a.png",
    "http://10.1.2.3/a.png",
    "http://192.168.0.1/a.png",
    "http://172.16.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.google.internal./a",
    "http://100.100.100.200/latest/meta-data/",
    "http://[::1]/a.png",
    "http://[fd00:ec2::254]/a",
    "http://[fe80::1]/a",
    "http://[::ffff:127.0.0.1]/a",
    "http://[64:ff9b::7f00:1]/a",
    "http://0.0.0.0/a",
    "http://224.0.0.1/a",
    "http://2130706433/a",
    "http://0x7f000001/a",
    "http://0x7f.1/a",
    "http://127.1/a",
    "http://0177.0.0.1/a",
    "http://127。0。0。1/a",
    "http://\uff11\uff12\uff17.0.0.1/a",  # Digits of full width.
    "http://redis:6379/a",
    "http://printer.local/a",
    "http://wiki.corp.internal/a",
    "http://router.lan/a",
    "http://public.example@127.0.0.1/a",
    "http://user:secret@example.org/a",
    "http://example.org\\@127.0.0.1/a",
    "http://exa%6dple.org/a",
    "http://exam ple.org/a",
    "http://example.org/\r\nHost: evil",
    "http:///a",
    "http://[::1/a",
    "http://example.org:99999/a",
)
OUTSIDE = (
    "https://example.org/a.png",
    "http://example.org:8080/a.png?size=2#part",
    "HTTPS://Example.ORG/a.png",
    "https://1.1.1.1/a.png",
    "https://[2606:4700::1111]/a.png",
    "https://localhost.example.org/a.png",
    "https://bücher.example/a.png",
    "https://3com.example/a.png",
)


def openai(url: str) -> tuple[str, Any, str]:
    part = {"type": "image_url", "image_url": {"url": url}}
    body = {"model": "lab/m", "messages": [{"role": "user", "content": [part]}]}
    return "/v1/chat/completions", body, "messages[0].content[0].image_url.url"


def openai_short(url: str) -> tuple[str, Any, str]:
    body = {
        "model": "lab/m",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}],
    }
    return "/v1/chat/completions", body, "messages[0].content[0].image_url"


def responses(url: str) -> tuple[str, Any, str]:
    part = {"type": "input_image", "image_url": url}
    body = {"model": "lab/m", "input": [{"role": "user", "content": [part]}]}
    return "/v1/responses", body, "input[0].content[0].image_url"


def responses_file(url: str) -> tuple[str, Any, str]:
    part = {"type": "input_file", "file_url": url}
    body = {"model": "lab/m", "input": [{"role": "user", "content": [part]}]}
    return "/v1/responses", body, "input[0].content[0].file_url"


def _anthropic(block: Any) -> Any:
    messages = [{"role": "user", "content": [block]}]
    return {"model": "lab/m", "max_tokens": 9, "messages": messages}


def anthropic(url: str) -> tuple[str, Any, str]:
    block = {"type": "image", "source": {"type": "url", "url": url}}
    return "/v1/messages", _anthropic(block), "messages[0].content[0].source.url"


def anthropic_document(url: str) -> tuple[str, Any, str]:
    block = {"type": "document", "source": {"type": "url", "url": url}}
    return "/v1/messages", _anthropic(block), "messages[0].content[0].source.url"


def gemini(url: str) -> tuple[str, Any, str]:
    part = {"fileData": {"mimeType": "image/png", "fileUri": url}}
    body = {"contents": [{"role": "user", "parts": [part]}]}
    path = "/v1beta/models/lab/m:generateContent"
    return path, body, "contents[0].parts[0].fileData.fileUri"


WRITTEN = (
    openai,
    openai_short,
    responses,
    responses_file,
    anthropic,
    anthropic_document,
    gemini,
)


@pytest.mark.parametrize("write", WRITTEN)
@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
async def test_a_url_that_points_inside_is_a_400_that_names_the_field(
    write: Any, kind: str
) -> None:
    """Also where the question would be relayed as it is."""
    async with (
        ReplayServer(play(kind, HELLO, False)) as upstream,
        running(settings(providers={"lab": provider(kind, upstream.url)})) as gateway,
    ):
        for url in INSIDE:
            path, body, field = write(url)
            async with gateway.session.post(gateway.url + path, json=body) as response:
                told = await response.text()
                assert response.status == 400, (url, told)
                assert field in told, (url, told)
                assert "secret" not in told
        assert upstream.received == []


@pytest.mark.parametrize(
    ("write", "kind"), [(openai, "openai"), (anthropic, "anthropic"), (gemini, "gemini")]
)
async def test_a_public_url_goes_to_the_upstream_and_is_not_fetched_here(
    write: Any, kind: str
) -> None:
    async with (
        ReplayServer(play(kind, HELLO, False)) as upstream,
        running(settings(providers={"lab": provider(kind, upstream.url)})) as gateway,
    ):
        for url in OUTSIDE:
            path, body, _ = write(url)
            async with gateway.session.post(gateway.url + path, json=body) as response:
                assert response.status == 200, (url, await response.text())
            assert url.encode() in orjson.dumps(upstream.received[-1].body)
        assert len(upstream.received) == len(OUTSIDE)


async def test_geminis_own_files_are_named_without_an_address_and_no_other_scheme_passes() -> None:
    async with (
        ReplayServer(play("gemini", HELLO, False)) as upstream,
        running(settings(providers={"lab": provider("gemini", upstream.url)})) as gateway,
    ):
        for url, status in (
            ("gs://bucket/a.png", 200),
            ("files/abc", 200),
            ("file:///etc/passwd", 400),
            ("gopher://127.0.0.1:6379/_x", 400),
        ):
            path, body, _ = gemini(url)
            async with gateway.session.post(gateway.url + path, json=body) as response:
                assert response.status == status, (url, await response.text())
