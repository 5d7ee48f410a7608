"""Google's errors -> what to do about them (PROTOCOLS 4.3; G04, G05)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import Broken, Denied, Limit, Rejected, UpstreamError
from chat.request import Json
from dialects.gemini import GeminiDialect

DIALECT = GeminiDialect()
RPC = "type.googleapis.com/google.rpc."


def failed(
    status: int,
    message: str = "m",
    name: str = "",
    details: Json = None,
    headers: dict[str, str] | None = None,
) -> Any:
    error: dict[str, Json] = {"code": status, "message": message, "status": name}
    if details is not None:
        error["details"] = details
    return DIALECT.parse_error(status, headers or {}, orjson.dumps({"error": error}))


def quota(quota_id: str, value: str | None = None) -> Json:
    violation = {"quotaId": quota_id} | ({"quotaValue": value} if value is not None else {})
    return [
        {"@type": RPC + "QuotaFailure", "violations": [violation]},
        {"@type": RPC + "RetryInfo", "retryDelay": "7s"},
    ]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("7s", 7.0),
        ("0.250s", 0.25),
        ({"seconds": "3", "nanos": 500_000_000}, 3.5),
        ("soon", None),
        ("-1s", None),
        ("nans", None),
        (None, None),
    ],
)
def test_the_delay_of_a_limit_stands_in_its_details(delay: Json, seconds: float | None) -> None:
    error = failed(429, details=[{"@type": RPC + "RetryInfo", "retryDelay": delay}])
    assert isinstance(error, Limit)
    assert error.retry_after == seconds


def test_the_quota_of_a_minute_is_a_short_rest_and_that_of_a_day_a_long_one() -> None:
    minute = failed(429, details=quota("GenerateRequestsPerMinutePerProject"))
    day = failed(429, details=quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"))
    assert (type(minute), minute.retry_after, minute.code) == (Limit, 7.0, None)
    assert (type(day), day.retry_after, day.code) == (Limit, 3600.0, "insufficient_quota")
    assert not day.retryable


def test_a_quota_of_zero_is_a_refusal_and_no_limit() -> None:
    error = failed(429, details=quota("InputTokensPerMinute-FreeTier", "0"))
    assert isinstance(error, Denied)
    assert error.status == 502


def test_google_refuses_a_key_with_a_400() -> None:
    reason = [{"@type": RPC + "ErrorInfo", "reason": "API_KEY_INVALID"}]
    assert isinstance(failed(400, "bad", "INVALID_ARGUMENT", reason), Denied)
    assert isinstance(failed(400, "API key not valid. Please pass a valid API key."), Denied)
    assert isinstance(failed(400, "User location is not supported for the API use."), Denied)


@pytest.mark.parametrize(
    ("status", "message", "fallback", "code"),
    [
        (400, "Invalid value at 'contents'", False, None),
        (
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed (9).",
            True,
            "context_length_exceeded",
        ),
        (404, "models/x is not found for API version v1beta", True, "model_not_found"),
        (400, "Function calling is not enabled for models/gemma-3-1b-it", True, None),
        (400, "Function call is missing a thought_signature in functionCall parts.", True, None),
        (413, "Request payload size exceeds the limit", False, None),
        (405, "no", True, None),
    ],
)
def test_a_wrong_request_is_rejected(
    status: int, message: str, fallback: bool, code: str | None
) -> None:
    error = failed(status, message)
    assert isinstance(error, Rejected)
    assert (error.fallback, error.code, error.retryable) == (fallback, code, False)
    assert error.message == message


@pytest.mark.parametrize("status", [500, 501, 502, 503, 529])
def test_a_fault_of_the_server_may_be_tried_again(status: int) -> None:
    error = failed(status)
    assert isinstance(error, Broken)
    assert error.retryable
    assert error.upstream_status == status


@settings(max_examples=200)
@given(
    status=st.integers(400, 599),
    body=st.one_of(
        st.binary(max_size=64),
        st.recursive(
            st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        ["error", "code", "message", "status", "details", "violations", "quotaId"]
                    ),
                    inner,
                    max_size=5,
                ),
            ),
        ).map(orjson.dumps),
    ),
)
def test_any_failure_is_an_upstream_error(status: int, body: bytes) -> None:
    error = DIALECT.parse_error(status, {}, body)
    assert isinstance(error, UpstreamError)
    assert error.message
