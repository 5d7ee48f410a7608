"""Gemini writes the model and what to do with it into the path: /v1beta/models/MODEL:METHOD."""

from __future__ import annotations

from aiohttp import web

from chat.errors import NotFound
from chat.request import Json
from dialects.gemini import GeminiDialect
from gateway.routes import counting, embeddings
from gateway.routes.chat import serve_chat

VERSIONS = ("v1", "v1beta", "v1alpha")
DIALECT = GeminiDialect()
CHAT = {"generateContent": False, "streamGenerateContent": True}
OTHERS = {
    "countTokens": counting.gemini,
    "embedContent": embeddings.gemini,
    "batchEmbedContents": embeddings.gemini_batch,
}


def register(app: web.Application) -> None:
    chat = serve_chat(app, DIALECT, _question)

    async def call(request: web.Request) -> web.StreamResponse:
        model, method = _model_and_method(request)
        other = OTHERS.get(method)
        if other is not None:
            return await other(request, model)
        return await chat(request)

    for version in VERSIONS:
        app.router.add_post(f"/{version}/models/{{call:.+}}", call)
    # The AI SDK leaves "models/" out where a model's name has a slash.
    methods = "|".join((*CHAT, *OTHERS))
    app.router.add_post(f"/v1beta/{{call:.+:(?:{methods})}}", call)


def _model_and_method(request: web.Request) -> tuple[str, str]:
    """Split at the last colon, since models have colons too."""
    model, _, method = request.match_info["call"].rpartition(":")
    if method not in CHAT and method not in OTHERS:
        raise NotFound(f"There is no method {method[:100]!r} of a model.")
    return model, method


def _question(request: web.Request, body: Json) -> Json:
    if isinstance(body, dict):
        model, method = _model_and_method(request)
        body["model"] = model
        body["stream"] = CHAT[method]
    return body
