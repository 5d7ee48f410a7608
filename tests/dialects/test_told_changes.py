"""What docs/dialects.md says becomes of a question: in which form each upstream hears it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from chat.request import Json
from dialects.openai import OpenAiDialect, OpenAiQuirks
from tests.dialects.told_pairs import (
    CALLERS,
    CITY,
    HI,
    PNG,
    heard,
    question,
    said,
    tool,
)

ABSENT = object()


class Form(NamedTuple):
    """What the caller says, where the upstream reads it, and as what."""

    caller: str
    more: dict[str, Json]
    upstream: str
    path: str
    told: object
    model: str | None = None


def at(body: Json, path: str) -> Any:
    """The value at a path of keys and places; ABSENT where it ends before."""
    for step in path.split("."):
        if isinstance(body, list) and -len(body) <= int(step) < len(body):
            body = body[int(step)]
        elif isinstance(body, dict) and step in body:
            body = body[step]
        else:
            return ABSENT
    return body


def system(text: str) -> Json:
    return {"role": "system", "content": text}


def user(*content: Json) -> dict[str, Json]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def schema(**more: Json) -> dict[str, Json]:
    told = {"name": "a b" * 30, "schema": {**CITY, **more}}
    return {"response_format": {"type": "json_schema", "json_schema": told}}


def effort(word: str) -> dict[str, Json]:
    return {"reasoning_effort": word}


def budget(tokens: int) -> dict[str, Json]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def calling(**more: Json) -> dict[str, Json]:
    declared = [{"name": name, "parametersJsonSchema": CITY} for name in ("f", "g", "h")]
    config = {"functionCallingConfig": {"mode": "ANY", **more}}
    return {"tools": [{"functionDeclarations": declared}], "toolConfig": config}


def called(call_id: str = "c", *shown: Json, **result: Json) -> dict[str, Json]:
    """An Anthropic caller's history with a call and its result."""
    call = {"type": "tool_use", "id": call_id, "name": "f", "input": {}}
    content = [{"type": "text", "text": "rain"}, *shown]
    answer = {"type": "tool_result", "tool_use_id": call_id, "content": content, **result}
    turns: list[Json] = [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [answer]},
    ]
    return {"messages": [HI, *turns], "tools": [tool("anthropic")]}


SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}
SHOWN = called("c", {"type": "image", "source": SOURCE})
TWO = calling(allowedFunctionNames=["f", "g"])
NAMED = {"type": "function", "function": {"name": "f"}}
TWO_TOOLS = [tool("openai"), {"type": "function", "function": {"name": "g", "parameters": CITY}}]
AMID: dict[str, Json] = {"messages": [HI, system("Be brief."), HI]}
PREFILL: dict[str, Json] = {"messages": [HI, {"role": "assistant", "content": "So: "}]}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
THOUGHT = {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"}
ANTHROPICS = said(
    "anthropic", HI, {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "Yes?"}]}
)
GEMINIS = said("gemini", {"role": "model", "parts": [THOUGHT, {"text": "Yes?"}]})
REFUSAL = said("openai", HI, {"role": "assistant", "content": None, "refusal": "No."})
OLD = "claude-3-5-haiku-20241022"
JSON: dict[str, Json] = {"response_format": {"type": "json_object"}}
CONFIG = "generationConfig."
MUST = "You must call at least one of the tools f, g. Do not answer in plain text."

FORMS = [
    Form("openai", {"temperature": 2}, "anthropic", "temperature", 1.0),
    Form("openai", {"temperature": 2}, "gemini", CONFIG + "temperature", 2),
    Form("openai", {"temperature": 2}, "ollama", "options.temperature", 2),
    Form("gemini", {"generationConfig": {"temperature": 2}}, "openai", "temperature", 2),
    Form("openai", {"temperature": 0.5}, "anthropic", "temperature", ABSENT, "claude-opus-4-7"),
    Form("openai", {"temperature": 0.5, **effort("low")}, "anthropic", "temperature", ABSENT),
    Form("openai", {"top_p": 0.9, **effort("low")}, "anthropic", "top_p", ABSENT),
    Form("openai", {"top_p": 0.97, **effort("low")}, "anthropic", "top_p", 0.97),
    Form("openai", {"top_k": 7}, "anthropic", "top_k", 7),
    Form("openai", {"top_k": 7, **effort("low")}, "anthropic", "top_k", ABSENT),
    Form("openai", {"top_k": 7}, "gemini", CONFIG + "topK", 7),
    Form("openai", {"top_k": 7}, "ollama", "options.top_k", 7),
    Form("openai", {"seed": 2**31 + 5}, "gemini", CONFIG + "seed", 5),
    Form("openai", {"seed": 2**31 + 5}, "ollama", "options.seed", 2**31 + 5),
    Form("openai", {}, "anthropic", "max_tokens", 4096),
    Form("openai", effort("low"), "anthropic", "max_tokens", 4096 + 1024),
    Form("openai", {"max_tokens": 9}, "gemini", CONFIG + "maxOutputTokens", 9),
    Form("openai", {"max_tokens": 9}, "ollama", "options.num_predict", 9),
    Form("anthropic", {"max_tokens": 9}, "openai", "max_tokens", 9),
    Form("openai", {"user": "u"}, "anthropic", "metadata.user_id", "u"),
    Form("anthropic", {"metadata": {"user_id": "u"}}, "openai", "user", "u"),
    # The choice of a tool.
    Form("openai", {"tools": TWO_TOOLS, "tool_choice": "none"}, "ollama", "tools", ABSENT),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": "none"},
        "gemini",
        "toolConfig.functionCallingConfig.mode",
        "NONE",
    ),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": "none"},
        "anthropic",
        "tool_choice",
        {"type": "none"},
    ),
    Form("openai", {"tools": TWO_TOOLS, "tool_choice": NAMED}, "ollama", "tools.1", ABSENT),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": NAMED},
        "ollama",
        "messages.0",
        system("You must call the tool f. Do not answer in plain text."),
    ),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": "required"},
        "ollama",
        "messages.0",
        system(MUST),
    ),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": "required"},
        "anthropic",
        "system",
        "Answer by calling one of the tools.",
        "claude-opus-5-5",
    ),
    Form("gemini", TWO, "openai", "tools.2", ABSENT),
    Form("gemini", TWO, "openai", "tool_choice", "required"),
    Form("gemini", TWO, "anthropic", "tools.2", ABSENT),
    Form("gemini", TWO, "anthropic", "tool_choice", {"type": "any"}),
    Form(
        "gemini",
        TWO,
        "gemini",
        "toolConfig.functionCallingConfig.allowedFunctionNames",
        ["f", "g"],
    ),
    Form("gemini", TWO, "ollama", "tools.2", ABSENT),
    Form("gemini", TWO, "ollama", "messages.0", system(MUST)),
    # Schemas and formats.
    Form(
        "openai",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        "anthropic",
        "tools.0.input_schema",
        {"type": "object", "properties": {}},
    ),
    Form(
        "openai",
        {"tools": [tool("openai", parameters={**CITY, "$schema": "x", "minProperties": 1})]},
        "gemini",
        "tools.0.functionDeclarations.0.parametersJsonSchema",
        {**CITY, "minProperties": 1},
    ),
    Form(
        "openai",
        schema(),
        "anthropic",
        "output_config.format.schema",
        {**CITY, "additionalProperties": False},
    ),
    Form("openai", schema(**{"x-y": 1}), "gemini", CONFIG + "responseJsonSchema", CITY),
    Form("openai", schema(), "ollama", "format", CITY),
    Form("openai", schema(), "ollama", "messages.0", system("Answer with JSON only.")),
    Form(
        "responses",
        {"text": {"format": {"type": "json_schema", "name": "a b" * 30, "schema": CITY}}},
        "openai",
        "response_format.json_schema.name",
        ("a_b" * 30)[:64],
    ),
    Form("openai", schema(), "anthropic", "output_config.format", ABSENT, OLD),
    Form("openai", JSON, "gemini", CONFIG + "responseMimeType", "application/json"),
    Form("openai", JSON, "ollama", "format", "json"),
    Form("openai", JSON, "ollama", "messages.0", system("Answer with JSON only.")),
    Form("ollama", {"format": "json"}, "openai", "response_format", {"type": "json_object"}),
    Form(
        "ollama",
        {"format": "json"},
        "openai",
        "messages.0",
        system("Answer with one JSON object."),
    ),
    # How hard to think.
    Form("anthropic", budget(4095), "openai", "reasoning_effort", "low"),
    Form("anthropic", budget(4096), "openai", "reasoning_effort", "medium"),
    Form("anthropic", budget(16384), "openai", "reasoning_effort", "high"),
    Form("openai", effort("minimal"), "anthropic", "output_config.effort", "low"),
    Form("openai", effort("low"), "anthropic", "thinking.type", "adaptive"),
    Form(
        "openai",
        effort("low"),
        "anthropic",
        "thinking",
        {"type": "enabled", "budget_tokens": 1024},
        "claude-sonnet-4-5",
    ),
    Form(
        "gemini",
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}},
        "anthropic",
        "thinking.budget_tokens",
        1024,
    ),
    Form(
        "openai",
        {"tools": TWO_TOOLS, "tool_choice": "required", **effort("low")},
        "anthropic",
        "thinking",
        ABSENT,
    ),
    Form("openai", effort("low"), "gemini", CONFIG + "thinkingConfig.thinkingBudget", 1024),
    Form(
        "openai",
        effort("low"),
        "gemini",
        CONFIG + "thinkingConfig",
        {"thinkingLevel": "LOW"},
        "gemini-3-pro",
    ),
    Form(
        "openai",
        effort("none"),
        "gemini",
        CONFIG + "thinkingConfig",
        {"thinkingLevel": "MINIMAL"},
        "gemini-3-flash",
    ),
    Form(
        "anthropic",
        budget(8192),
        "gemini",
        CONFIG + "thinkingConfig.thinkingBudget",
        8192,
        "gemini-3-pro",
    ),
    Form("openai", effort("low"), "gemini", CONFIG + "thinkingConfig", ABSENT, "gemini-2.0-flash"),
    Form("openai", effort("minimal"), "ollama", "think", "low"),
    Form("openai", effort("xhigh"), "ollama", "think", "max"),
    Form("openai", effort("none"), "ollama", "think", False),
    Form("anthropic", {"thinking": {"type": "disabled"}}, "ollama", "think", False),
    # What was said before.
    Form("openai", AMID, "ollama", "messages.1", system("Be brief.")),
    Form("openai", AMID, "gemini", "contents.0.parts.1", {"text": "Be brief."}),
    Form(
        "openai",
        AMID,
        "anthropic",
        "messages.0.content.1.text",
        "<system>\nBe brief.\n</system>",
    ),
    Form("ollama", AMID, "openai", "messages.1", system("Be brief.")),
    Form("openai", PREFILL, "anthropic", "messages.1.content", "So:"),
    Form("openai", PREFILL, "gemini", "contents.1.parts.0.text", "So: "),
    Form("openai", PREFILL, "ollama", "messages.1.content", "So: "),
    Form("ollama", PREFILL, "openai", "messages.1.content", "So: "),
    Form("openai", REFUSAL, "anthropic", "messages.1.content", "No."),
    Form("openai", REFUSAL, "gemini", "contents.1.parts.0.text", "No."),
    Form("openai", REFUSAL, "ollama", "messages.1.content", "No."),
    Form("openai", REFUSAL, "openai", "messages.1.content", "No."),
    Form("anthropic", ANTHROPICS, "anthropic", "messages.1.content.0", SIGNED),
    Form("anthropic", ANTHROPICS, "ollama", "messages.1.thinking", "Hm."),
    Form("gemini", GEMINIS, "gemini", "contents.0.parts.0", THOUGHT),
    Form("gemini", GEMINIS, "ollama", "messages.0.thinking", "Hm."),
    # Results of tools.
    Form("anthropic", SHOWN, "openai", "messages.2.content", "rain"),
    Form(
        "anthropic",
        SHOWN,
        "openai",
        "messages.3.content.1.image_url.url",
        f"data:image/png;base64,{PNG}",
    ),
    Form("anthropic", SHOWN, "anthropic", "messages.2.content.0.content.1.source", SOURCE),
    Form("anthropic", SHOWN, "gemini", "contents.2.parts.1.inlineData.data", PNG),
    Form("anthropic", SHOWN, "ollama", "messages.2.images", [PNG]),
    Form("anthropic", called(is_error=True), "anthropic", "messages.2.content.0.is_error", True),
    Form(
        "anthropic",
        called(is_error=True),
        "gemini",
        "contents.2.parts.0.functionResponse.response",
        {"error": "rain"},
    ),
    Form("anthropic", called("a.b"), "openai", "messages.2.tool_call_id", "a.b"),
    Form("anthropic", called("a.b"), "anthropic", "messages.2.content.0.tool_use_id", "a_b"),
    Form("anthropic", called("a.b"), "gemini", "contents.2.parts.0.functionResponse.id", "a.b"),
    Form("anthropic", called("a.b"), "ollama", "messages.2.tool_call_id", "a.b"),
]


@pytest.mark.parametrize(
    "form", FORMS, ids=[f"{f.caller}-{f.upstream}-{f.path}-{n}" for n, f in enumerate(FORMS)]
)
def test_an_upstream_hears_it_as_the_document_says(form: Form) -> None:
    sent = heard(form.caller, form.upstream, question(form.caller, **form.more), form.model)
    assert at(sent, form.path) == form.told


def test_thoughts_of_the_history_go_to_an_openai_host_that_wants_them() -> None:
    host = OpenAiDialect(OpenAiQuirks(reasoning_history=True))
    for caller, more, place in (("anthropic", ANTHROPICS, 1), ("gemini", GEMINIS, 0)):
        request = CALLERS[caller].parse_request(question(caller, **more))
        turn = host.build_request(request, "m")["messages"][place]
        assert (turn["reasoning_content"], turn["content"]) == ("Hm.", "Yes?")
