"""HTTP errors of an Anthropic upstream, and ours in Anthropic's words."""

from __future__ import annotations

import orjson
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
    NotIdentified,
    QueueFull,
    Refused,
    Rejected,
    Timeout,
    TooLarge,
    UpstreamError,
)
from chat.request import Json
from dialects.anthropic import AnthropicDialect

DIALECT = AnthropicDialect()


def body(kind: str, message: str, **more: Json) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message, **more}})


def error(status: int, data: bytes = b"", **headers: str) -> UpstreamError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return DIALECT.parse_error(status, names, data)


@pytest.mark.parametrize(
    ("status", "kind", "expected", "retryable", "fallback"),
    [
        (400, "invalid_request_error", Rejected, False, False),
        (401, "authentication_error", Denied, False, True),
        (402, "billing_error", Denied, False, True),
        (403, "permission_error", Denied, False, True),
        (404, "not_found_error", Rejected, False, True),
        (408, "request_timeout", Timeout, True, True),
        (409, "conflict_error", Rejected, False, False),
        (413, "request_too_large", Rejected, False, True),
        (422, "invalid_request_error", Rejected, False, False),
        (429, "rate_limit_error", Limit, False, True),
        (500, "api_error", Broken, True, True),
        (504, "timeout_error", Timeout, False, True),
        (529, "overloaded_error", Broken, True, True),
    ],
)
def test_a_status_says_what_the_engine_should_do(
    status: int, kind: str, expected: type[UpstreamError], retryable: bool, fallback: bool
) -> None:
    failure = error(status, body(kind, "no"))
    assert type(failure) is expected
    assert (failure.message, failure.upstream_status) == ("no", status)
    assert (failure.retryable, failure.fallback) == (retryable, fallback)


def test_the_longest_reset_of_the_limits_used_up_is_the_wait() -> None:
    headers = {
        "anthropic_ratelimit_requests_remaining": "0",
        "anthropic_ratelimit_requests_reset": "2026-11-21T10:00:12Z",
        "anthropic_ratelimit_tokens_remaining": "50",
        "anthropic_ratelimit_tokens_reset": "2026-11-21T10:01:00Z",
        "anthropic_ratelimit_input_tokens_remaining": "0",
        "anthropic_ratelimit_input_tokens_reset": "2026-11-21T10:00:09Z",
        "date": "Sat, 21 Nov 2026 10:00:00 GMT",
    }
    assert error(429, b"", **headers).retry_after == 12
    assert error(529, b"", **headers).retry_after == 12
    assert error(429, b"", retry_after="7", **headers).retry_after == 7


def test_no_money_is_denied_and_not_a_limit() -> None:
    for failure in (
        error(400, body("invalid_request_error", "Your credit balance is too low to go on.")),
        error(
            429,
            body("rate_limit_error", "no", details={"error_code": "enforced_spend_limit_reached"}),
        ),
        error(402),
    ):
        assert isinstance(failure, Denied)
        assert failure.code == "insufficient_quota"


def test_a_prompt_too_long_may_go_to_another_target() -> None:
    failure = error(400, body("invalid_request_error", "prompt is too long: 210000 tokens"))
    assert (failure.code, failure.fallback) == ("context_length_exceeded", True)


def test_a_model_that_is_not_there_may_be_asked_elsewhere() -> None:
    failure = error(404, body("not_found_error", "model: claude-9"))
    assert (failure.code, failure.fallback, failure.status) == ("model_not_found", True, 404)


def test_a_thought_of_another_model_may_go_to_another_target() -> None:
    message = "messages.1.content.0: Invalid `signature` in `thinking` block"
    assert error(400, body("invalid_request_error", message)).fallback


@given(st.integers(400, 599), st.binary(max_size=80), st.text(max_size=20))
def test_any_body_is_some_upstream_error(status: int, data: bytes, wait: str) -> None:
    failure = DIALECT.parse_error(status, {"retry-after": wait, "date": wait}, data)
    assert failure.message


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (BadRequest("no", param="x"), 400, "invalid_request_error"),
        (TooLarge("no"), 413, "request_too_large"),
        (NotIdentified("no"), 401, "authentication_error"),
        (NotAllowed("no"), 403, "permission_error"),
        (ModelNotFound("m"), 404, "not_found_error"),
        (MethodNotAllowed("no"), 405, "invalid_request_error"),
        (LimitReached("no"), 429, "rate_limit_error"),
        (BudgetReached("no"), 429, "billing_error"),
        (QueueFull("no"), 503, "overloaded_error"),
        (Draining("no"), 503, "overloaded_error"),
        (NoTargetLeft("no"), 502, "api_error"),
        (NoTargetLeft("no", last=Limit("no")), 429, "rate_limit_error"),
        (NoTargetLeft("no", last=Timeout("no")), 504, "timeout_error"),
        (Refused("no"), 502, "api_error"),
        (Timeout("no"), 504, "timeout_error"),
        (Limit("no"), 429, "rate_limit_error"),
        (Rejected("no", upstream_status=422), 422, "invalid_request_error"),
        (Rejected("no", upstream_status=404), 404, "not_found_error"),
        (Denied("no", upstream_status=401), 502, "api_error"),
        (Broken("no"), 502, "api_error"),
        (Broken("no", code="overloaded"), 502, "overloaded_error"),
        (GatewayError("no"), 500, "api_error"),
    ],
)
def test_an_error_of_ours_is_told_in_the_callers_words(
    failure: GatewayError, status: int, kind: str
) -> None:
    assert failure.status == status
    assert DIALECT.render_error(failure) == {
        "type": "error",
        "error": {"type": kind, "message": failure.message},
    }


def test_a_prompt_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    failure = Rejected("maximum context length is 8192", code="context_length_exceeded")
    told = DIALECT.render_error(failure)["error"]["message"]
    assert told == "prompt is too long: maximum context length is 8192"
