"""Everything that can go wrong, by what a caller or the engine should do about it.

    GatewayError
    ├── BadRequest          400  the caller's mistake; `param` names the field
    │   └── TooLarge        413
    ├── NotIdentified       401
    ├── NotAllowed          403
    ├── NotFound            404  no such path or thing
    │   └── ModelNotFound   404  no such model; the message names the nearest
    ├── MethodNotAllowed    405
    ├── LimitReached        429  with retry_after
    ├── BudgetReached       429  asking again will not help
    ├── QueueFull           503  with retry_after
    ├── Draining            503  this process is stopping; ask again
    ├── NoTargetLeft   502..504  every target of the plan failed; `attempts` says how
    └── UpstreamError       502  one upstream failed once
        ├── Refused         502  no connection: refused, DNS, TLS, reset before an answer
        ├── Timeout         504  no first event, or silence, or the deadline
        ├── Limit           429  the upstream's own rate limit, with retry_after
        ├── Rejected        4xx  the upstream says that the request is wrong; never retried
        ├── Denied          502  the upstream refused *our* key: never shown as the caller's 401
        └── Broken          502  5xx, a cut stream, an answer that cannot be read

A dialect renders `kind`, `status`, `message`, `param` and `code` in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

MODEL_SHOWN = 200
"""Characters of an unknown model's name that an error repeats."""


class GatewayError(Exception):
    """An error with a place in HTTP. `retry_after` is in seconds."""

    status: int = 500
    kind: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.headers: Mapping[str, str] = {}
        """More headers for the answer."""
        self.settled = False
        """What it ended is written down already."""


class BadRequest(GatewayError):
    status = 400
    kind = "bad_request"


class TooLarge(BadRequest):
    status = 413
    kind = "too_large"


class NotIdentified(GatewayError):
    status = 401
    kind = "not_identified"


class NotAllowed(GatewayError):
    status = 403
    kind = "not_allowed"


class NotFound(GatewayError):
    status = 404
    kind = "not_found"


class ModelNotFound(NotFound):
    kind = "model_not_found"

    def __init__(self, model: str, nearest: Sequence[str] = ()) -> None:
        hint = f" Did you mean {', '.join(nearest)}?" if nearest else ""
        super().__init__(
            f"The model {model[:MODEL_SHOWN]!r} does not exist.{hint}",
            param="model",
            code="model_not_found",
        )
        self.nearest = tuple(nearest)


class MethodNotAllowed(GatewayError):
    status = 405
    kind = "method_not_allowed"


class LimitReached(GatewayError):
    status = 429
    kind = "rate_limited"


class BudgetReached(GatewayError):
    status = 429
    kind = "quota"


class QueueFull(GatewayError):
    status = 503
    kind = "overloaded"


class Draining(GatewayError):
    status = 503
    kind = "overloaded"

    def __init__(self, message: str = "This gateway is stopping. Ask again.") -> None:
        super().__init__(message, retry_after=1)


class UpstreamError(GatewayError):
    """One upstream failed once.

    `retryable`: the same target may be asked again. `fallback`: the next target may be
    asked. `upstream_status`: its HTTP status, None when none came.
    """

    status = 502
    kind = "upstream_error"
    retryable: bool = True
    fallback: bool = True

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int | None = None,
        retryable: bool | None = None,
        fallback: bool | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after=retry_after)
        self.upstream_status = upstream_status
        if retryable is not None:
            self.retryable = retryable
        if fallback is not None:
            self.fallback = fallback


class Refused(UpstreamError):
    kind = "upstream_refused"


class Timeout(UpstreamError):
    status = 504
    kind = "timeout"
    # The target had its time; asking it again would take the caller's patience, not the fault.
    retryable = False


class Limit(UpstreamError):
    status = 429
    kind = "rate_limited"
    retryable = False


class Rejected(UpstreamError):
    """The upstream calls the request wrong. `status` is the upstream's, where it is a 4xx."""

    status = 400
    kind = "bad_request"
    retryable = False
    fallback = False

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int = 400,
        fallback: bool | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(
            message, upstream_status=upstream_status, fallback=fallback, param=param, code=code
        )
        if upstream_status in (400, 404, 409, 413, 422):
            self.status = upstream_status


class Denied(UpstreamError):
    kind = "upstream_auth"
    retryable = False


class Broken(UpstreamError):
    kind = "upstream_error"


class NoTargetLeft(GatewayError):
    """Every target of the plan failed. The status is that of the last failure."""

    status = 502
    kind = "upstream_error"

    def __init__(self, message: str, *, last: UpstreamError | None = None) -> None:
        super().__init__(message, code="no_target_left")
        self.last = last
        if last is not None:
            self.retry_after = last.retry_after
            # What every target says of the request is likely true of the request.
            if last.status in (400, 404, 413, 422, 429, 504):
                self.status = last.status
