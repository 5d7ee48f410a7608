"""A ChatRequest in Gemini's words, by the mapping tables (PROTOCOLS 6; G03, G07, G08)."""

from __future__ import annotations

from typing import Any

import pytest

from chat.request import (
    ChatRequest,
    Effort,
    File,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.gemini import GeminiDialect

DIALECT = GeminiDialect()
CITY: dict[str, Json] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("get_weather", "Tells the weather.", CITY)
OWN: dict[str, Json] = {"dialect": "gemini", "fields": {}}


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


HI = say("user", "hi")


def built(*messages: Message, model: str = "gemini-2.5-flash", **fields: Any) -> dict[str, Json]:
    request = ChatRequest(model="auto", messages=messages or (HI,), **fields)
    return DIALECT.build_request(request, model)


def contents(*messages: Message, **fields: Any) -> Json:
    return built(*messages, **fields)["contents"]


def config(**fields: Any) -> Json:
    return built(HI, **fields).get("generationConfig", {})


def test_the_model_and_streaming_stay_out_of_the_body() -> None:
    assert built(HI, stream=True) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_leading_system_messages_are_the_instruction_and_later_ones_the_users() -> None:
    body = built(
        say("system", "be brief"),
        say("system", "be kind"),
        HI,
        say("assistant", "hello"),
        say("system", "be slow"),
        say("user", "go on"),
    )
    assert body["systemInstruction"] == {"parts": [{"text": "be brief"}, {"text": "be kind"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "hello"}]},
        {"role": "user", "parts": [{"text": "be slow"}, {"text": "go on"}]},
    ]


def test_a_system_prompt_alone_becomes_the_users_turn() -> None:
    body = built(say("system", "Write a haiku."))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Write a haiku."}]}]}


def test_turns_of_one_role_are_merged_and_empty_ones_left_out() -> None:
    assert contents(say("user", "a"), say("user", ""), say("user", "b", "")) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}
    ]


def test_a_wholly_empty_conversation_is_left_for_the_upstream_to_refuse() -> None:
    assert contents(say("user", "")) == [{"role": "user", "parts": [{"text": ""}]}]


def test_pictures_and_files_go_as_data_or_by_their_address() -> None:
    message = say(
        "user",
        "what is this?",
        Image(media_type="image/png", data="AAE="),
        Image(data="/9j/4AAQ"),
        Image(url="https://example.org/cat.webp?size=2"),
        Image(url="https://example.org/cat"),
        File("document", data="JVBERi0="),
        File("audio", media_type="audio/mpeg", data="SUQz"),
    )
    assert contents(message)[0]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAE="}},
        {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}},
        {
            "fileData": {
                "fileUri": "https://example.org/cat.webp?size=2",
                "mimeType": "image/webp",
            }
        },
        {"fileData": {"fileUri": "https://example.org/cat"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "SUQz"}},
    ]


def test_parallel_results_stand_in_one_turn_with_their_names_and_before_the_text() -> None:
    calls = (
        ToolCall("c1", "get_weather", '{"city":"Paris"}'),
        ToolCall("c2", "now", ""),
        ToolCall("c3", "get_weather", "[not json"),
    )
    turns = contents(
        HI,
        say("assistant", "Let me look.", *calls),
        say("tool", ToolResult("c1", (Text("sun"), Image(media_type="image/png", data="AAE=")))),
        say("tool", ToolResult("c2", (Text("broke"),), is_error=True)),
        say("tool", ToolResult("c3", (Text('{"rain":1}'),))),
        say("user", "and?"),
    )
    assert turns[1] == {
        "role": "model",
        "parts": [
            {"text": "Let me look."},
            {"functionCall": {"id": "c1", "name": "get_weather", "args": {"city": "Paris"}}},
            {"functionCall": {"id": "c2", "name": "now", "args": {}}},
            {"functionCall": {"id": "c3", "name": "get_weather", "args": {"_raw": "[not json"}}},
        ],
    }

    def answer(call_id: str, name: str, response: Json) -> Json:
        return {"functionResponse": {"id": call_id, "name": name, "response": response}}

    assert turns[2] == {
        "role": "user",
        "parts": [
            answer("c1", "get_weather", {"result": "sun"}),
            answer("c2", "now", {"error": "broke"}),
            answer("c3", "get_weather", {"result": '{"rain":1}'}),
            {"inlineData": {"mimeType": "image/png", "data": "AAE="}},
            {"text": "and?"},
        ],
    }


def test_arguments_that_no_body_could_carry_are_kept_as_words() -> None:
    deep = '{"a":' * 240 + "1" + "}" * 240
    call = contents(HI, say("assistant", ToolCall("c1", "f", deep)))[1]["parts"][0]
    assert call["functionCall"]["args"] == {"_raw": deep}
    wide = '{"a":[' + "{}," * 400 + "{}]}"
    call = contents(HI, say("assistant", ToolCall("c1", "f", wide)))[1]["parts"][0]
    assert len(call["functionCall"]["args"]["a"]) == 401


def test_a_signature_goes_back_on_the_call_it_came_with() -> None:
    signed = ToolCall("c1", "f", "{}", signature="c2ln")
    turns = contents(HI, say("assistant", signed, ToolCall("c2", "g", "{}")), model="gemini-3-pro")
    assert turns[1]["parts"] == [
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
    ]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("gemini-3-flash-preview", "skip_thought_signature_validator"),
        ("gemini-4-argon", "skip_thought_signature_validator"),
        ("gemini-2.5-pro", None),
        ("gemini-flash-latest", None),
    ],
)
def test_a_call_of_another_model_is_excused_where_a_signature_is_demanded(
    model: str, told: str | None
) -> None:
    call, other = ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")
    first, second = contents(HI, say("assistant", call, other), model=model)[1]["parts"]
    assert first.get("thoughtSignature") == told
    assert "thoughtSignature" not in second


def test_thoughts_go_back_to_gemini_only_when_it_signed_them() -> None:
    thought = say("assistant", Reasoning("hm", signature="c2ln", vendor="gemini"), "so")
    assert contents(HI, thought)[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "so"},
    ]
    for foreign in (
        Reasoning("hm", signature="c2ln", vendor="anthropic"),
        Reasoning("hm", signature="c2ln"),
        Reasoning("hm"),
        Reasoning(redacted="c2ln", vendor="anthropic"),
    ):
        assert contents(HI, say("assistant", foreign, "so"))[1]["parts"] == [{"text": "so"}]


def test_tools_carry_json_schema_and_old_models_get_googles_own() -> None:
    none = Tool("now")
    assert built(HI, tools=(WEATHER, none))["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "Tells the weather.",
                    "parametersJsonSchema": CITY,
                },
                {"name": "now"},
            ]
        }
    ]
    empty = Tool("empty", parameters={"type": "object", "properties": {}})
    old = built(HI, tools=(WEATHER, empty), model="gemini-2.0-flash")["tools"]
    assert old == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "Tells the weather.",
                    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
                },
                {"name": "empty"},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("named", ("a", "b")), {"mode": "ANY", "allowedFunctionNames": ["a", "b"]}),
    ],
)
def test_the_choice_of_tools(choice: ToolChoice, calling: Json) -> None:
    body = built(HI, tools=(WEATHER,), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": calling}
    assert "toolConfig" not in built(HI, tool_choice=choice)


def test_sampling_keeps_zero_apart_from_absent() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        max_tokens=10,
        stop=("a", "", "b", "c", "d", "e", "f"),
        seed=2**31 + 5,
        presence_penalty=0.0,
        frequency_penalty=-1.0,
    )
    assert config(sampling=sampling) == {
        "temperature": 0.0,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 10,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "seed": 5,
        "presencePenalty": 0.0,
        "frequencyPenalty": -1.0,
    }
    assert config(sampling=Sampling(top_k=0, max_tokens=-1)) == {}


def test_structured_output_in_either_form() -> None:
    wanted = ResponseFormat("json_schema", name="City", schema=CITY, strict=True)
    assert config(response_format=wanted) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": CITY,
    }
    old = built(HI, response_format=wanted, model="gemini-1.5-pro")["generationConfig"]
    assert old == {
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
    }
    assert config(response_format=ResponseFormat("json_object")) == {
        "responseMimeType": "application/json"
    }
    assert config(response_format=ResponseFormat("text")) == {}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.8-flash", "max", {"thinkingLevel": "HIGH"}),
        ("gemini-4-argon", "xhigh", {"thinkingLevel": "XHIGH"}),
        ("gemini-flash-latest", "high", {"thinkingLevel": "HIGH"}),
        ("gemini-2.0-flash", "high", None),
        ("gemma-3-27b-it", "high", None),
    ],
)
def test_effort_is_a_budget_or_a_level_by_the_models_age(
    model: str, effort: Effort, thinking: Json
) -> None:
    body = built(HI, model=model, effort=effort)
    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking


def test_a_budget_wins_over_an_effort_and_thoughts_may_be_asked_for() -> None:
    wanted = config(effort="low", thinking_budget=2000, include_thoughts=True)
    assert wanted == {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}}
    level = built(HI, model="gemini-3-flash", thinking_budget=2000)["generationConfig"]
    assert level == {"thinkingConfig": {"thinkingBudget": 2000}}


def test_unknown_fields_return_to_gemini_only_and_never_replace_known_ones() -> None:
    fields = {
        "safetySettings": [],
        "generationConfig": {"mediaResolution": "LOW", "temperature": 2},
        "tools": [{"googleSearch": {}}],
        "contents": [],
    }
    sampling = Sampling(temperature=0.5)
    body = built(
        HI, tools=(WEATHER,), sampling=sampling, extra={"dialect": "gemini", "fields": fields}
    )
    assert body["safetySettings"] == []
    assert body["generationConfig"] == {"mediaResolution": "LOW", "temperature": 0.5}
    assert [list(tool) for tool in body["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    foreign = built(HI, extra={"dialect": "openai", "fields": fields})
    assert foreign == built(HI)
    assert fields["tools"] == [{"googleSearch": {}}]
