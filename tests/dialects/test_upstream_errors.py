"""What a failed upstream says means the same in every language that it may speak."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, Denied, Limit, Rejected, Timeout, UpstreamError
from dialects.anthropic import AnthropicDialect
from dialects.base import OutboundDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect

DIALECTS: tuple[OutboundDialect, ...] = (
    AnthropicDialect(),
    GeminiDialect(),
    OllamaDialect(),
    OpenAiDialect(),
)
DATE = "Sat, 21 Nov 2026 10:00:00 GMT"
in_every_language = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def said(dialect: OutboundDialect, status: int, message: str) -> UpstreamError:
    """An error as the dialect's own vendor writes it."""
    body: Any = {"message": message, "code": None, "type": "e", "status": ""}
    if dialect.name == "gemini":
        body["code"] = status
    body = message if dialect.name == "ollama" else body
    return dialect.parse_error(status, {}, orjson.dumps({"type": "error", "error": body}))


@in_every_language
@pytest.mark.parametrize(
    ("status", "kind", "shown", "retryable", "fallback"),
    [
        (400, Rejected, 400, False, False),
        (401, Denied, 502, False, True),
        (402, Denied, 502, False, True),
        (403, Denied, 502, False, True),
        (404, Rejected, 404, False, True),
        (405, Rejected, 400, False, True),
        (408, Timeout, 504, True, True),
        (409, Rejected, 409, False, False),
        (410, Rejected, 400, False, True),
        (422, Rejected, 422, False, False),
        (425, Timeout, 504, True, True),
        (429, Limit, 429, False, True),
        (499, Timeout, 504, True, True),
        (500, Broken, 502, True, True),
        (501, Broken, 502, True, True),
        (502, Broken, 502, True, True),
        (503, Broken, 502, True, True),
        (504, Timeout, 504, False, True),
        (529, Broken, 502, True, True),
    ],
)
def test_a_status_alone_means_the_same_everywhere(
    dialect: OutboundDialect,
    status: int,
    kind: type[UpstreamError],
    shown: int,
    retryable: bool,
    fallback: bool,
) -> None:
    for failure in (dialect.parse_error(status, {}, b""), said(dialect, status, "no")):
        assert type(failure) is kind
        assert (failure.status, failure.upstream_status) == (shown, status)
        assert (failure.retryable, failure.fallback) == (retryable, fallback)
        if status == 402:
            assert failure.code == "insufficient_quota"


@in_every_language
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:30 GMT", "date": DATE}, 90),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:30 -0000", "date": DATE}, None),
        ({"retry-after": "Sat, 21 Nov 2020 10:01:30 GMT"}, None),
        ({"retry-after": "later", "date": "now"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_all_its_forms_and_by_no_clock_of_ours(
    dialect: OutboundDialect, headers: dict[str, str], seconds: float | None
) -> None:
    assert dialect.parse_error(429, headers, b"").retry_after == seconds
    assert dialect.parse_error(503, headers, b"").retry_after == seconds


@in_every_language
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The upstream answered HTTP 502."),
        (b"<html><head><title>502 Bad\n Gateway</title>", "502 Bad Gateway"),
        (b"<html><body>Bad Gateway</body></html>", "The upstream answered HTTP 502."),
        (b"upstream  connect\nerror\n", "upstream connect error"),
        (b'{"error":"words"}', "words"),
        (b'{"error":{"message":"words"}}', "words"),
        (b'{"error":{"message":""},"message":"words"}', "words"),
        (b'{"error":{"type":"api_error"}}', "api_error"),
        (b'{"message":"words"}', "words"),
        (b'{"detail":"words"}', "words"),
        (b'{"detail":[{"msg":"a"},{"msg":"b"}]}', "a; b"),
        (b'[{"error":{"message":"words"}}]', "words"),
        (b'"words"', "words"),
        (b"17", "The upstream answered HTTP 502."),
        (b"[]", "The upstream answered HTTP 502."),
        (b"{}", "The upstream answered HTTP 502."),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_upstreams_words_are_found_in_any_body(
    dialect: OutboundDialect, body: bytes, message: str
) -> None:
    assert dialect.parse_error(502, {}, body).message == message


@in_every_language
@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcDEF123456",
        "sk-ant-api03-abcdef_ABC",
        "sk-abc***************wxyz",
        "gsk_abcdefghijklmnop",
        "xai-0123456789abcdef",
        "ddc-a4f-0123456789abcdef",
        "AIzaSyD-abcdef0123456789_xyz",
        "ya29.a0AfB_byC-1234",
        "0123456789abcdef0123456789abcdef.AbCdEfGh12",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
)
def test_what_looks_like_a_key_is_hidden(dialect: OutboundDialect, key: str) -> None:
    for text in (f"Incorrect API key provided: {key}.", f"api_key:{key} is no", f'"{key}"'):
        for failure in (
            said(dialect, 401, text),
            said(dialect, 400, text),
            dialect.parse_error(500, {}, text.encode()),
            # At the very end of what is kept.
            said(dialect, 401, "no. " * 120 + key),
        ):
            assert key not in failure.message
            assert key[8:16] not in failure.message
            assert "[hidden]" in failure.message


@in_every_language
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad Bearer hush-hush given", "bad Bearer [hidden] given"),
        ("bad api_key=opensesame given", "bad api_key=[hidden] given"),
        ("bad API key: opensesame given", "bad API key: [hidden] given"),
        ("GET https://x/?key=hunter2&alt=sse failed", "GET https://x/?key=[hidden]&alt=sse failed"),
    ],
)
def test_what_is_called_a_key_is_hidden(dialect: OutboundDialect, text: str, message: str) -> None:
    assert said(dialect, 500, text).message == message


@in_every_language
@pytest.mark.parametrize(
    "text",
    [
        "The model meta-llama/Llama-3.3-70B-Instruct-Turbo of risk-averse key-holders is busy",
        "Quota exceeded for metric: generate_content_free_tier_input_token_count, limit: 20",
        "messages.1.content.0: unknown key 'temperature'",
    ],
)
def test_names_of_models_and_quotas_are_not_taken_for_keys(
    dialect: OutboundDialect, text: str
) -> None:
    assert said(dialect, 500, text).message == text


@in_every_language
def test_a_long_message_is_shortened(dialect: OutboundDialect) -> None:
    message = said(dialect, 500, "no. " * 1000).message
    assert len(message) == 500
    assert message.endswith("…")


@in_every_language
@given(status=st.integers(400, 599), body=st.binary(max_size=80), wait=st.text(max_size=20))
def test_whatever_comes_there_is_one_error_with_a_message(
    dialect: OutboundDialect, status: int, body: bytes, wait: str
) -> None:
    failure = dialect.parse_error(status, {"retry-after": wait, "date": wait}, body)
    assert failure.message
    assert failure.retry_after is None or failure.retry_after >= 0
