"""Who may pass: what needs no key, and what a handler asks before it serves an operator."""

from __future__ import annotations

import hmac

from aiohttp import web

from chat.errors import NotAllowed, NotIdentified
from gateway.accounts import secret
from gateway.accounts.identity import CHALLENGE, UNNAMED, key_in
from gateway.direct import Whole
from gateway.engine.ports import OPEN, Caller
from gateway.middleware import CALLER, Identify
from gateway.services import SERVICES, Standing

PUBLIC = frozenset(
    ("/", "/healthz", "/readyz", "/health", "/metrics", "/api/version", "/openapi.json", "/docs")
)
"""Nothing is asked or spent there; /metrics has a token of its own."""
PUBLIC_UNDER = ("/health/", "/assets/")
LISTS = frozenset(
    ("/api/tags", "/api/ps", "/models", "/v1/models", "/v1beta/models", "/v1alpha/models")
)
LISTED_UNDER = ("/v1/models/", "/v1beta/models/", "/v1alpha/models/")
"""Which models there are: where [access] open_lists is on, nothing is asked there either."""
NAMES_ITSELF = ("/ai_request", "/get_request/", "/ws/")
"""Callers name themselves there in the body or in their first message, or hold the number of
their request. A key that they send all the same must be good."""
KEY_IN_URL = ("/v1/models/", "/v1beta/", "/v1alpha/")
"""Gemini's clients may write ?key= there."""


def identify_by(standing: Standing) -> Identify:
    def identify(request: web.Request) -> Caller:
        """Raises NotIdentified."""
        services = standing.services
        identity = services.identity
        # The paths of `Whole` ones have no query.
        bare = type(request) is Whole or "?" not in request.raw_path
        if bare and identity.anybody(request.headers):
            return OPEN
        path = request.path
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        in_url = ""
        if request.query_string and path.startswith(KEY_IN_URL):
            in_url = request.query.get("key", "")
        return identity.identify(
            request.headers,
            in_url,
            public=is_public(request.method, path)
            or (services.settings.access.open_lists and is_list(request.method, path)),
            optional=path.startswith(NAMES_ITSELF),
        )

    return identify


def is_public(method: str, path: str) -> bool:
    if method == "OPTIONS":
        return True
    return method in ("GET", "HEAD") and (path in PUBLIC or path.startswith(PUBLIC_UNDER))


def is_list(method: str, path: str) -> bool:
    """Whether it only says which models there are, and what they can do."""
    if method == "POST":
        return path == "/api/show"
    return method in ("GET", "HEAD") and (path in LISTS or path.startswith(LISTED_UNDER))


def require_admin(request: web.Request) -> Caller:
    """Raises NotIdentified without a key, NotAllowed with another's."""
    caller = request[CALLER]
    if caller.admin:
        return caller
    if caller.id in UNNAMED:
        failure = NotIdentified("This needs the admin token, as a Bearer.")
        failure.headers = CHALLENGE
        raise failure
    raise NotAllowed("This needs the admin token; an app code does not open it.")


def require_metrics(request: web.Request) -> None:
    """Raises NotIdentified where [access] metrics_token is set and was not given."""
    token = request.app[SERVICES].settings.access.metrics_token
    if not token or request[CALLER].admin:
        return
    given = secret.digest(key_in(request.headers))
    if not hmac.compare_digest(given, secret.digest(token)):
        failure = NotIdentified("The metrics need their token, as a Bearer.")
        failure.headers = CHALLENGE
        raise failure
