"""What docs/dialects.md says that an upstream cannot be told is refused to it: the next target is
asked, and nothing is left out in silence."""

from __future__ import annotations

import pytest

from chat.errors import BadRequest, Rejected
from chat.request import Json
from tests.dialects.told_pairs import CALLERS, PDF, PNG, UPSTREAMS, heard, question, said

URL = "https://example.org/a"


SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}


def user(*content: Json) -> dict[str, Json]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def block(kind: str, **source: Json) -> dict[str, Json]:
    return user({"type": kind, "source": source})


def inline(media_type: str) -> dict[str, Json]:
    return said("gemini", {"parts": [{"inlineData": {"mimeType": media_type, "data": "AAAA"}}]})


def linked(uri: str, media_type: str) -> dict[str, Json]:
    return said("gemini", {"parts": [{"fileData": {"mimeType": media_type, "fileUri": uri}}]})


SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
REFUSED: dict[str, tuple[str, dict[str, Json], str]] = {
    "a picture": ("anthropic", block("image", **SOURCE), ""),
    "a picture of another type": ("gemini", inline("image/heic"), "anthropic"),
    "a picture behind a URL": ("anthropic", block("image", type="url", url=URL), "ollama"),
    "a linked picture": ("gemini", linked(URL, "image/png"), "ollama"),
    "a picture that only Google has": (
        "gemini",
        linked("gs://a/b", "image/png"),
        "openai anthropic ollama",
    ),
    "a picture that only Anthropic has": (
        "anthropic",
        block("image", type="file", file_id="f"),
        "openai gemini ollama",
    ),
    "a document": (
        "anthropic",
        block("document", type="base64", media_type="application/pdf", data=PDF),
        "ollama",
    ),
    "a document behind a URL": (
        "anthropic",
        block("document", type="url", url=URL),
        "openai ollama",
    ),
    "a linked document": ("gemini", linked(URL, "application/pdf"), "openai ollama"),
    "a document that only Google has": (
        "gemini",
        linked("files/1", "application/pdf"),
        "openai anthropic ollama",
    ),
    "a document that only Anthropic has": (
        "anthropic",
        block("document", type="file", file_id="f"),
        "openai gemini ollama",
    ),
    "a document that only OpenAI has": (
        "openai",
        user({"type": "file", "file": {"file_id": "f"}}),
        "anthropic gemini ollama",
    ),
    "a sound": ("openai", user(SOUND), "anthropic ollama"),
    "a sound of another type": ("gemini", inline("audio/ogg"), "openai anthropic ollama"),
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_told_is_refused_and_the_next_target_is_asked(
    what: str, upstream: str
) -> None:
    caller, more, refused = REFUSED[what]
    if upstream not in refused.split():
        heard(caller, upstream, question(caller, **more))
        return
    with pytest.raises(Rejected) as caught:
        heard(caller, upstream, question(caller, **more))
    assert caught.value.fallback


RESULTS: dict[str, dict[str, Json]] = {
    "openai": {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
    "responses": {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
    "anthropic": user({"type": "tool_result", "tool_use_id": "c", "content": "x"}),
    "gemini": {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
    "ollama": {"messages": [{"role": "tool", "tool_name": "f", "content": "x"}]},
}


@pytest.mark.parametrize("caller", CALLERS)
def test_a_result_without_its_call_is_refused_in_every_language(caller: str) -> None:
    with pytest.raises(BadRequest) as caught:
        CALLERS[caller].parse_request(question(caller, **RESULTS[caller]))
    assert caught.value.param is not None
    assert caught.value.param.startswith(next(iter(RESULTS[caller])) + "[0]")


def test_log_probabilities_are_refused_to_callers_of_responses() -> None:
    for field, value in (("include", ["message.output_text.logprobs"]), ("top_logprobs", 2)):
        with pytest.raises(BadRequest) as caught:
            CALLERS["responses"].parse_request(question("responses", **{field: value}))
        assert caught.value.param == field
