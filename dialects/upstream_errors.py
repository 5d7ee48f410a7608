"""Failures of an upstream that mean the same in every language."""

from __future__ import annotations

from chat.errors import Broken, Denied, Limit, Rejected, Timeout, UpstreamError


def of_status(
    status: int,
    message: str,
    *,
    upstream_status: int | None,
    code: str | None = None,
    param: str | None = None,
    retry_after: float | None = None,
) -> UpstreamError:
    """What an HTTP status means where the error's own words do not say more.

    `upstream_status` is None for an error inside an answer of 200, whose `status` its words tell.
    """
    if status == 402:
        return no_money(message, upstream_status=upstream_status, retry_after=retry_after)
    if status in (401, 403):
        return Denied(message, upstream_status=upstream_status, code=code, retry_after=retry_after)
    if status == 429:
        return Limit(message, upstream_status=upstream_status, code=code, retry_after=retry_after)
    if status in (408, 425, 499, 504):
        # 504 says that the upstream worked at it for long; the others, that it never began.
        return Timeout(
            message,
            upstream_status=upstream_status,
            code=code,
            retryable=status != 504,
            retry_after=retry_after,
        )
    if 400 <= status < 500:
        # A path or a model that one host lacks is no fault of the request.
        fallback = status in (404, 405, 410)
        return Rejected(message, upstream_status=status, fallback=fallback, param=param, code=code)
    return Broken(message, upstream_status=upstream_status, code=code, retry_after=retry_after)


def no_money(
    message: str, *, upstream_status: int | None, retry_after: float | None = None
) -> Denied:
    """Our account at the upstream is empty or at its limit: a longer rest than any rate limit's."""
    return Denied(
        message,
        upstream_status=upstream_status,
        code="insufficient_quota",
        retry_after=retry_after,
    )


def cut() -> Broken:
    """The stream ended without its finish."""
    return Broken("The upstream's answer ended before it was finished.", code="cut")


def malformed(what: str) -> Broken:
    """`what`: "an event that is not JSON"."""
    return Broken(f"The upstream sent {what}.", code="malformed")


def unsupported(what: str, param: str = "messages") -> Rejected:
    """The request holds `what` this upstream has no words for; the next target may have them."""
    return Rejected(
        f"The upstream cannot read {what}.",
        fallback=True,
        param=param,
        code="unsupported_content",
    )
