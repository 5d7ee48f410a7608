"""What docs/dialects.md says an upstream never hears is not in the body that it is asked with,
and what it says is heard makes a difference there."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from chat.errors import Rejected
from chat.request import Json
from tests.dialects.told_pairs import (
    CITY,
    HI,
    MODELS,
    PDF,
    PNG,
    UPSTREAMS,
    heard,
    others,
    question,
    said,
    tool,
)

OWN: dict[str, dict[str, Json]] = {
    # Fields that only his own language has; what he says besides them is the same.
    "openai": {
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"50256": -100},
        "metadata": {"trip": "7"},
        "store": True,
        "service_tier": "flex",
        "prediction": {"type": "content", "content": "Ho"},
        "modalities": ["text"],
        "audio": {"voice": "alloy", "format": "wav"},
        "verbosity": "low",
        "web_search_options": {},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "repetition_penalty": 1.1,
        "n_probs": 3,
    },
    "responses": {
        "include": ["reasoning.encrypted_content"],
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "text": {"verbosity": "low"},
        "reasoning": {"summary": "auto"},
        "max_tool_calls": 3,
        "metadata": {"trip": "7"},
        "store": False,
    },
    "anthropic": {
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "container": "c_1",
        "mcp_servers": [{"type": "url", "url": "https://mcp.example.org", "name": "x"}],
        "service_tier": "auto",
        "metadata": {"trip": "7"},
        "cache_control": {"type": "ephemeral"},
        "system": "x-anthropic-billing-header: cc_version=2",
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    },
    "gemini": {
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
        ],
        "cachedContent": "cachedContents/1",
        "labels": {"team": "a"},
        "generationConfig": {
            "speechConfig": {"languageCode": "en-US"},
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "responseModalities": ["TEXT"],
            "responseLogprobs": True,
            "responseMimeType": "text/x.enum",
        },
        "tools": [{"googleSearch": {}}, {"codeExecution": {}}],
    },
    "ollama": {
        "keep_alive": "5m",
        "truncate": False,
        "shift": False,
        "logprobs": True,
        "options": {"num_gpu": 1, "mirostat": 2, "repeat_penalty": 1.1, "num_ctx": 8192},
    },
}


@pytest.mark.parametrize(("caller", "field"), [(who, name) for who in OWN for name in OWN[who]])
def test_a_field_of_his_own_language_reaches_no_other(caller: str, field: str) -> None:
    own = {field: OWN[caller][field]}
    # OpenAI's questions without any of its rarer fields are read by a shorter way.
    for beside in ({}, {"user": "u"} if caller == "openai" else {}):
        plain, with_it = question(caller, **beside), question(caller, **beside, **own)
        for upstream in others(caller):
            assert heard(caller, upstream, with_it) == heard(caller, upstream, plain)
    if caller in UPSTREAMS:
        relayed = UPSTREAMS[caller].relay_body(with_it, MODELS[caller])
        assert relayed[field] == own[field]
        if field != "system":
            assert heard(caller, caller, with_it) != heard(caller, caller, plain)


class Told(NamedTuple):
    """A row of the document: what the caller says without it and with it, who hears no difference,
    and who cannot be told either."""

    caller: str
    without: dict[str, Json]
    with_it: dict[str, Json]
    unheard: str
    refused: str = ""


def answered(**more: Json) -> dict[str, Json]:
    """An Anthropic caller's history with a call and its result."""
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "no", **more}
    return said("anthropic", {"role": "assistant", "content": [call]}, user(result))


def responded(key: str) -> dict[str, Json]:
    """The same of a Gemini caller's."""
    result = {"functionResponse": {"name": "f", "response": {key: "no"}}}
    return said("gemini", model(CALL), {"parts": [result]})


def model(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def assistant(*content: Json, **more: Json) -> dict[str, Json]:
    """The history of one who writes messages: a question and its answer."""
    told = [*content, {"type": "text", "text": "Yes?"}] if content else "Yes?"
    return {"messages": [HI, {"role": "assistant", "content": told, **more}, HI]}


def user(*content: Json) -> Json:
    return {"role": "user", "content": [*content, {"type": "text", "text": "And?"}]}


def picture(**more: Json) -> dict[str, Json]:
    url = {"url": f"data:image/png;base64,{PNG}", **more}
    return {"messages": [user({"type": "image_url", "image_url": url})]}


def document(**more: Json) -> dict[str, Json]:
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    return {"messages": [user({"type": "document", "source": source, **more})]}


def form(**more: Json) -> dict[str, Json]:
    told = {"name": "response", "schema": CITY, **more}
    return {"response_format": {"type": "json_schema", "json_schema": told}}


def mode(name: str, **more: Json) -> dict[str, Json]:
    calling = {"mode": name, **more}
    return {"tools": [tool("gemini")], "toolConfig": {"functionCallingConfig": calling}}


def choice(**more: Json) -> dict[str, Json]:
    return {"tools": [tool("anthropic")], "tool_choice": {"type": "auto", **more}}


TOOLS: dict[str, Json] = {"tools": [tool("openai")]}
STOPS = ["a", "b", "c", "d", "e"]
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
GEMINI_SIGNED = {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"}
CALL = {"functionCall": {"id": "c", "name": "f", "args": {}}}
VIDEO = {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}
ROWS: dict[str, Told] = {
    "top_k": Told("openai", {}, {"top_k": 7}, "openai"),
    "min_p": Told("openai", {}, {"min_p": 0.2}, "openai anthropic gemini"),
    "seed": Told("openai", {}, {"seed": 7}, "anthropic"),
    "presence_penalty": Told("openai", {}, {"presence_penalty": 0.5}, "anthropic"),
    "frequency_penalty": Told("openai", {}, {"frequency_penalty": 0.5}, "anthropic"),
    "top_p": Told("openai", {}, {"top_p": 0.9}, ""),
    "top_p beside temperature": Told(
        "openai", {"temperature": 0.5}, {"temperature": 0.5, "top_p": 0.9}, "anthropic"
    ),
    "temperature over 1": Told("openai", {"temperature": 1}, {"temperature": 2}, "anthropic"),
    "max_tokens": Told("openai", {}, {"max_tokens": 9}, ""),
    "a blank stop": Told("openai", {"stop": ["a"]}, {"stop": ["a", "\n"]}, "anthropic"),
    "a sixth stop": Told("openai", {"stop": STOPS}, {"stop": [*STOPS, "f"]}, "gemini"),
    "user": Told("openai", {}, {"user": "u"}, "gemini ollama"),
    "metadata.user_id": Told("anthropic", {}, {"metadata": {"user_id": "u"}}, "gemini ollama"),
    "parallel_tool_calls": Told(
        "openai", TOOLS, {**TOOLS, "parallel_tool_calls": False}, "gemini ollama"
    ),
    "disable_parallel_tool_use": Told(
        "anthropic", choice(), choice(disable_parallel_tool_use=True), "gemini ollama"
    ),
    "strict of a tool": Told(
        "openai", TOOLS, {"tools": [tool("openai", strict=True)]}, "gemini ollama"
    ),
    "strict: false of a tool": Told(
        "openai", TOOLS, {"tools": [tool("openai", strict=False)]}, "anthropic gemini ollama"
    ),
    "strict of Anthropic's tool": Told(
        "anthropic",
        {"tools": [tool("anthropic")]},
        {"tools": [tool("anthropic", strict=True)]},
        "gemini ollama",
    ),
    "cache_control of a tool": Told(
        "anthropic",
        {"tools": [tool("anthropic")]},
        {"tools": [tool("anthropic", cache_control={"type": "ephemeral"})]},
        "openai gemini ollama",
    ),
    "behavior of a function": Told(
        "gemini",
        {"tools": [tool("gemini")]},
        {"tools": [tool("gemini", behavior="BLOCKING", response=CITY)]},
        "openai anthropic ollama",
    ),
    "VALIDATED": Told("gemini", mode("AUTO"), mode("VALIDATED"), "openai anthropic gemini ollama"),
    "names beside AUTO": Told(
        "gemini",
        mode("AUTO"),
        mode("AUTO", allowedFunctionNames=["f"]),
        "openai anthropic gemini ollama",
    ),
    "name of a schema": Told("openai", form(), form(name="weather"), "anthropic gemini ollama"),
    "strict of a schema": Told("openai", form(), form(strict=True), "anthropic gemini ollama"),
    "description of a schema": Told("openai", form(), form(description="d"), "gemini ollama"),
    "a budget": Told(
        "anthropic", {}, {"thinking": {"type": "enabled", "budget_tokens": 8192}}, "ollama"
    ),
    "adaptive thinking": Told("anthropic", {}, {"thinking": {"type": "adaptive"}}, "openai ollama"),
    "a thinkingBudget": Told(
        "gemini", {}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 8192}}}, "ollama"
    ),
    "name of a message": Told(
        "openai", {}, {"messages": [{**HI, "name": "Ann"}]}, "anthropic gemini ollama"
    ),
    "empty text": Told(
        "openai",
        said("openai", {**HI, "content": "Ho"}),
        said("openai", {**HI, "content": "Ho"}, {**HI, "content": ""}),
        "anthropic gemini",
    ),
    "detail": Told("openai", picture(), picture(detail="low"), "anthropic gemini ollama"),
    "title of a document": Told("anthropic", document(), document(title="t"), "gemini", "ollama"),
    "context of a document": Told(
        "anthropic", document(), document(context="c"), "openai gemini", "ollama"
    ),
    "citations of a document": Told(
        "anthropic", document(), document(citations={"enabled": True}), "openai gemini", "ollama"
    ),
    "videoMetadata": Told(
        "gemini",
        said("gemini", {"parts": [VIDEO]}),
        said("gemini", {"parts": [{**VIDEO, "videoMetadata": {"fps": 1}}]}),
        "openai anthropic",
        "ollama",
    ),
    "is_error": Told("anthropic", answered(), answered(is_error=True), "openai ollama"),
    "error of a response": Told("gemini", responded("result"), responded("error"), "openai ollama"),
    "reasoning_content": Told(
        "openai", assistant(), assistant(reasoning_content="Hm."), "openai anthropic gemini"
    ),
    "thinking of Ollama's": Told(
        "ollama", assistant(), assistant(thinking="Hm."), "openai anthropic gemini"
    ),
    "a thought of Anthropic's": Told("anthropic", assistant(), assistant(SIGNED), "openai gemini"),
    "a signature of Anthropic's": Told(
        "anthropic",
        assistant({**SIGNED, "signature": ""}),
        assistant(SIGNED),
        "openai gemini ollama",
    ),
    "a thought that only Anthropic reads": Told(
        "anthropic",
        assistant(),
        assistant({"type": "redacted_thinking", "data": "c2ln"}),
        "openai gemini ollama",
    ),
    "a step that Anthropic ran": Told(
        "anthropic",
        assistant(),
        assistant({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        "openai gemini ollama",
    ),
    "a thought of Gemini's": Told(
        "gemini",
        said("gemini", model({"text": "Yes?"})),
        said("gemini", model(GEMINI_SIGNED, {"text": "Yes?"})),
        "openai anthropic",
    ),
    "a signature of Gemini's call": Told(
        "gemini",
        said("gemini", model(CALL)),
        said("gemini", model({**CALL, "thoughtSignature": "c2ln"})),
        "openai anthropic ollama",
    ),
    "a step that Google ran": Told(
        "gemini",
        said("gemini", model({"text": "Yes?"})),
        said("gemini", model(CODE, {"text": "Yes?"})),
        "",
    ),
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("row", ROWS)
def test_what_is_said_to_be_lost_is_lost_and_all_else_is_heard(row: str, upstream: str) -> None:
    caller, without, with_it, unheard, refused = ROWS[row]
    plain, more = question(caller, **without), question(caller, **with_it)
    if upstream == refused:
        with pytest.raises(Rejected):
            heard(caller, upstream, more)
        return
    before, after = heard(caller, upstream, plain), heard(caller, upstream, more)
    assert (after == before) == (upstream in unheard.split())
