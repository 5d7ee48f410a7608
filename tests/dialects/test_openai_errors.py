"""HTTP errors of OpenAI-compatible hosts, and our own errors in OpenAI's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import (
    BadRequest,
    Broken,
    BudgetReached,
    Denied,
    Draining,
    GatewayError,
    Limit,
    LimitReached,
    MethodNotAllowed,
    ModelNotFound,
    NotAllowed,
    NoTargetLeft,
    NotFound,
    NotIdentified,
    QueueFull,
    Refused,
    Rejected,
    Timeout,
    TooLarge,
    UpstreamError,
)
from dialects.openai import OpenAiDialect

DIALECT = OpenAiDialect()


def error(status: int, body: Any, headers: dict[str, str] | None = None) -> UpstreamError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.parse_error(status, headers or {}, raw)


def openai(message: str, kind: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


CASES = [
    (400, openai("bad", "invalid_request_error"), Rejected, "invalid_request_error", False, False),
    (
        400,
        openai("This model's maximum context length is 8192 tokens.", "invalid_request_error"),
        Rejected,
        "context_length_exceeded",
        False,
        True,
    ),
    (400, openai("x", None, "context_length_exceeded"), Rejected, "context_length_exceeded", 0, 1),
    (
        400,
        {"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error"}},
        Rejected,
        "context_length_exceeded",
        False,
        True,
    ),
    (403, openai("Input exceeds the context window"), Rejected, "context_length_exceeded", 0, 1),
    (401, openai("Incorrect API key", None, "invalid_api_key"), Denied, "invalid_api_key", 0, 1),
    (402, openai("Pay"), Denied, "insufficient_quota", False, True),
    (403, openai("Country not supported"), Denied, None, False, True),
    (
        404,
        openai("The model `x` does not exist", None, "model_not_found"),
        Rejected,
        "model_not_found",
        0,
        1,
    ),
    (400, openai("The model `x` has been decommissioned"), Rejected, "model_not_found", 0, 1),
    (404, b"404 page not found", Rejected, None, False, True),
    (408, b"", Timeout, None, True, True),
    (409, openai("conflict"), Rejected, None, False, False),
    (
        413,
        openai("Request too large for tier", "tokens", "rate_limit_exceeded"),
        Limit,
        "rate_limit_exceeded",
        0,
        1,
    ),
    (413, b"<html>too large</html>", Rejected, None, False, False),
    (422, {"detail": [{"msg": "field required"}, {"msg": "no"}]}, Rejected, None, False, False),
    (429, openai("slow", "requests", "rate_limit_exceeded"), Limit, "rate_limit_exceeded", 0, 1),
    (
        429,
        openai("no money", "insufficient_quota", "insufficient_quota"),
        Denied,
        "insufficient_quota",
        0,
        1,
    ),
    (498, openai("flex capacity", None, "capacity_exceeded"), Limit, "capacity_exceeded", 0, 1),
    (500, openai("oops", "server_error"), Broken, "server_error", True, True),
    (502, b"<html><body>Bad gateway</body></html>", Broken, None, True, True),
    (503, b"", Broken, None, True, True),
    (504, b"", Timeout, None, False, True),
    (529, openai("busy", "overloaded_error"), Broken, "overloaded_error", True, True),
    (418, b"teapot", Rejected, None, False, False),
]


@pytest.mark.parametrize(("status", "body", "kind", "code", "retryable", "fallback"), CASES)
def test_a_status_and_its_body_say_what_to_do(
    status: int,
    body: Any,
    kind: type[UpstreamError],
    code: str | None,
    retryable: bool,
    fallback: bool,
) -> None:
    failed = error(status, body)
    assert type(failed) is kind
    assert failed.code == code
    assert (failed.retryable, failed.fallback) == (bool(retryable), bool(fallback))
    expected = 400 if code == "context_length_exceeded" else status
    assert failed.upstream_status == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"}, 360),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-remaining-requests": "0"}, 0.12),
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "9"}, None),
        ({}, None),
    ],
)
def test_the_reset_of_a_limit_used_up_is_the_wait(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert error(429, openai("slow"), headers).retry_after == seconds
    assert error(503, openai("slow"), headers).retry_after == seconds


def test_the_wait_is_read_from_the_body_too() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}
    body = [{"error": {"code": 429, "message": "slow", "details": [{"@type": "x"}, info]}}]
    assert error(429, body).retry_after == 7.5
    assert error(429, body, {"retry-after": "3"}).retry_after == 3


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "status",
                    "details",
                    "detail",
                    "retryDelay",
                    "msg",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(400, 599), ANY, st.text(max_size=8), st.text(max_size=8))
def test_whatever_the_body_and_headers_are_there_is_one_error(
    status: int, body: Any, after: str, date: str
) -> None:
    headers = {"retry-after": after, "date": date}
    failed = error(status, body, headers)
    assert isinstance(failed, UpstreamError)
    assert 0 < len(failed.message) <= 500
    assert failed.retry_after is None or failed.retry_after >= 0


@given(st.integers(400, 599), st.binary())
def test_whatever_the_bytes_are_there_is_one_error(status: int, body: bytes) -> None:
    assert isinstance(error(status, body), UpstreamError)


OURS: list[tuple[GatewayError, str, str | None]] = [
    (BadRequest("m", param="messages"), "invalid_request_error", None),
    (TooLarge("m"), "invalid_request_error", None),
    (NotIdentified("m"), "invalid_request_error", "invalid_api_key"),
    (NotAllowed("m"), "permission_error", None),
    (NotFound("m"), "invalid_request_error", "not_found"),
    (ModelNotFound("x"), "invalid_request_error", "model_not_found"),
    (MethodNotAllowed("m"), "invalid_request_error", "method_not_allowed"),
    (LimitReached("m", retry_after=3), "rate_limit_error", "rate_limit_exceeded"),
    (BudgetReached("m"), "insufficient_quota", "insufficient_quota"),
    (QueueFull("m"), "server_error", "overloaded"),
    (Draining("m"), "server_error", "overloaded"),
    (NoTargetLeft("m"), "server_error", "no_target_left"),
    (Refused("m"), "server_error", "upstream_refused"),
    (Timeout("m"), "server_error", "timeout"),
    (Limit("m", code="tokens"), "rate_limit_error", "rate_limit_exceeded"),
    (
        Rejected("m", code="context_length_exceeded"),
        "invalid_request_error",
        "context_length_exceeded",
    ),
    (Broken("m", code="cut"), "server_error", "cut"),
    (GatewayError("m"), "server_error", "internal_error"),
]


@pytest.mark.parametrize(
    ("ours", "kind", "code"), OURS, ids=[type(ours).__name__ for ours, _, _ in OURS]
)
def test_our_errors_have_openais_shape(ours: GatewayError, kind: str, code: str | None) -> None:
    assert DIALECT.render_error(ours) == {
        "error": {"message": ours.message, "type": kind, "param": ours.param, "code": code}
    }


@pytest.mark.parametrize("code", [None, "invalid_api_key", "insufficient_quota"])
def test_an_upstream_that_denies_our_key_is_never_the_callers_401(code: str | None) -> None:
    denied = Denied("Incorrect API key", code=code, upstream_status=401)
    assert denied.status == 502
    assert DIALECT.render_error(denied)["error"]["code"] == "upstream_auth"
