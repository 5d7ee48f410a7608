"""What callers who speak Gemini send -> a ChatRequest (PROTOCOLS 4.1, 7.4; Q01, Q03)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat.request import (
    ChatRequest,
    File,
    Image,
    Json,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.gemini import GeminiDialect
from tests.dialects.cuts import RECORDINGS

DIALECT = GeminiDialect()
ASKED = sorted((RECORDINGS / "gemini" / "asked").glob("*.json"))
HI = Message("user", (Text("hi"),))
TURN: Json = {"role": "user", "parts": [{"text": "hi"}]}


def captured(name: str) -> ChatRequest:
    asked = json.loads((RECORDINGS / "gemini" / "asked" / f"{name}.json").read_text())
    model, _, method = asked["path"].rpartition(":")
    door = {"model": model.rpartition("/")[2], "stream": method.startswith("stream")}
    return DIALECT.parse_request(asked["body"] | door)


def parsed(*contents: Json, **fields: Json) -> ChatRequest:
    body = {"model": "gemini-x", "stream": False, "contents": list(contents) or [TURN]}
    return DIALECT.parse_request(body | fields)


def test_there_are_captured_requests() -> None:
    assert len(ASKED) == 13


@pytest.mark.parametrize("name", [path.stem for path in ASKED])
def test_a_captured_request_is_understood(name: str) -> None:
    request = captured(name)
    assert request.model == "gemini-x"
    assert request.messages[-1].role in ("user", "tool")
    assert request.stream == ("stream" in name)


def test_google_genai_asks_with_settings() -> None:
    request = captured("genai_generate")
    assert request.messages == (Message("system", (Text("be brief"),)), HI)
    assert request.sampling == Sampling(temperature=0.1, max_tokens=10, stop=("x",), seed=1)


def test_google_genai_asks_for_structure_in_both_forms() -> None:
    properties = {
        "a": {"title": "A", "type": "integer"},
        "name": {"title": "Name", "type": "string"},
    }
    schema = {
        "properties": properties,
        "required": ["a", "name"],
        "title": "Out",
        "type": "object",
    }
    wanted = ResponseFormat("json_schema", schema=schema)
    assert captured("genai_structured").response_format == wanted
    assert captured("genai_structured_json_schema").response_format == wanted


def test_google_genai_asks_with_tools_in_mixed_spelling() -> None:
    request = captured("genai_tools")
    city: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
    assert request.tools == (Tool("get_weather", "d", city),)
    assert request.tool_choice == ToolChoice("named", ("get_weather",))
    assert (request.include_thoughts, request.effort, request.thinking_budget) == (
        True,
        "none",
        None,
    )


def test_google_genai_brings_a_result_and_a_picture() -> None:
    image = Image(media_type="image/png", data="AAE=")
    assert captured("genai_tool_result_image").messages == (
        Message("user", (Text("hi"), image)),
        Message("assistant", (ToolCall("c1", "get_weather", '{"city":"x"}'),)),
        Message("tool", (ToolResult("c1", (Text("sunny"),), "get_weather"),)),
    )


def test_langchain_sends_safety_settings_that_only_gemini_knows() -> None:
    assert captured("lc_google_invoke").extra == {
        "dialect": "gemini",
        "fields": {"safetySettings": []},
    }


def snake(value: Json) -> Json:
    """Every key in snake_case."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key): snake(item)
        for key, item in value.items()
    }


def full_body() -> dict[str, Json]:
    return {
        "model": "gemini-x",
        "stream": True,
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "look"},
                    {"inlineData": {"mimeType": "image/jpeg", "data": "_-8"}},
                    {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.test/y"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2lo"},
                    {"functionCall": {"name": "f", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "f", "response": {"result": "one"}}},
                    {"functionResponse": {"name": "f", "response": {"error": "two"}}},
                    {"text": "and?"},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "parametersJsonSchema": {"type": "object"}},
                    {"name": "g", "parameters": {"type": "OBJECT"}},
                ]
            },
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["g"]}},
        "generationConfig": {
            "temperature": 0,
            "topP": 0.5,
            "topK": 40.0,
            "candidateCount": 1,
            "maxOutputTokens": 9,
            "stopSequences": ["a", "b"],
            "presencePenalty": 1,
            "frequencyPenalty": -1,
            "seed": 3,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
            "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "low"},
            "mediaResolution": "LOW",
        },
        "cachedContent": "cachedContents/1",
    }


@pytest.mark.parametrize("spell", [lambda body: body, snake], ids=["camelCase", "snake_case"])
def test_every_field_is_read_in_both_spellings(spell: Any) -> None:
    request = DIALECT.parse_request(spell(full_body()))
    system, user, assistant, one, two, last = request.messages
    assert system == Message("system", (Text("be brief"),))
    assert user.parts == (
        Text("look"),
        Image(media_type="image/jpeg", data="/+8="),
        File("document", media_type="application/pdf", url="https://x.test/y"),
    )
    thought, first, second = assistant.parts
    assert thought == Reasoning("hm", signature="c2ln", vendor="gemini")
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert (first.name, first.arguments, first.signature) == ("f", '{"a":1}', "c2lo")
    assert first.id != second.id
    assert one == Message("tool", (ToolResult(first.id, (Text("one"),), "f"),))
    assert two == Message("tool", (ToolResult(second.id, (Text("two"),), "f", is_error=True),))
    assert last == Message("user", (Text("and?"),))
    assert request.stream
    assert request.tools == (
        Tool("f", parameters={"type": "object"}),
        Tool("g", parameters={"type": "object"}),
    )
    assert request.tool_choice == ToolChoice("named", ("g",))
    assert request.sampling == Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=40,
        max_tokens=9,
        stop=("a", "b"),
        seed=3,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
    )
    assert request.response_format == ResponseFormat("json_schema", schema={"type": "object"})
    assert (request.effort, request.include_thoughts) == ("low", True)
    fields = request.extra["fields"]
    assert fields["cachedContent"] == "cachedContents/1"
    assert fields["generationConfig"] == {"mediaResolution": "LOW"}
    assert len(fields["tools"]) == 1


def test_what_was_read_is_built_again_as_it_was() -> None:
    body = full_body()
    request = DIALECT.parse_request(body)
    built = DIALECT.build_request(request, "gemini-3-pro")
    _, assistant, answers = built["contents"]
    assert assistant["parts"][0] == body["contents"][1]["parts"][0]
    assert [part.get("thoughtSignature") for part in assistant["parts"]] == ["c2ln", "c2lo", None]
    responses = [part["functionResponse"]["response"] for part in answers["parts"][:2]]
    assert responses == [{"result": "one"}, {"error": "two"}]
    assert built["tools"][1] == {"googleSearch": {}}
    assert built["generationConfig"]["mediaResolution"] == "LOW"
    assert built["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": True,
        "thinkingLevel": "LOW",
    }
    assert built["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}
    }


@pytest.mark.parametrize(
    "part",
    [
        {"text": "a", "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "s"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAE="}, "videoMetadata": {"fps": 1}},
    ],
)
def test_a_part_that_only_gemini_understands_returns_to_it_whole(part: Json) -> None:
    request = parsed(TURN, {"role": "model", "parts": [part]}, TURN)
    assert DIALECT.build_request(request, "gemini-x")["contents"][1]["parts"] == [part]


def test_a_signature_without_content_returns_as_an_empty_text() -> None:
    request = parsed(TURN, {"role": "model", "parts": [{"thoughtSignature": "c2ln"}]}, TURN)
    parts = DIALECT.build_request(request, "gemini-x")["contents"][1]["parts"]
    assert parts == [{"text": "", "thoughtSignature": "c2ln"}]


def test_others_read_googles_own_steps_as_words() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    request = parsed(TURN, {"role": "model", "parts": [code]}, TURN)
    assert request.messages[1].text == "```python\nprint(1)\n```"


def test_a_result_that_is_an_object_is_told_as_json_and_returns_as_it_was() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    response = {"name": "f", "response": {"temp": 7, "wind": [1]}}
    request = parsed(TURN, call, {"role": "function", "parts": [{"functionResponse": response}]})
    result = request.messages[2].parts[0]
    assert isinstance(result, ToolResult)
    assert result.text == '{"temp":7,"wind":[1]}'
    built = DIALECT.build_request(request, "gemini-x")["contents"][2]["parts"][0]
    assert built["functionResponse"]["response"] == response["response"]


def test_a_result_may_bring_pictures() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f"}}]}
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAE="}}
    response = {"id": "c1", "name": "f", "response": {"result": "see"}, "parts": [blob]}
    request = parsed(TURN, call, {"parts": [{"functionResponse": response}]})
    result = request.messages[2].parts[0]
    assert isinstance(result, ToolResult)
    assert result.parts == (Text("see"), Image(media_type="image/png", data="AAE="))


def test_results_without_ids_find_their_calls_by_name_and_in_order() -> None:
    def call(name: str) -> Json:
        return {"functionCall": {"name": name}}

    def answer(name: str, text: str) -> Json:
        return {"functionResponse": {"name": name, "response": {"result": text}}}

    request = parsed(
        TURN,
        {"role": "model", "parts": [call("f"), call("g"), call("f")]},
        {"parts": [answer("f", "1"), answer("f", "2"), answer("g", "3")]},
        {"role": "model", "parts": [call("f")]},
        {"parts": [answer("f", "4")]},
    )
    calls = [part for m in request.messages for part in m.parts if isinstance(part, ToolCall)]
    results = [part for m in request.messages for part in m.parts if isinstance(part, ToolResult)]
    order = [calls.index(next(c for c in calls if c.id == r.call_id)) for r in results]
    assert order == [0, 2, 1, 3]


def test_one_object_stands_for_a_list_of_one() -> None:
    request = DIALECT.parse_request(
        {
            "model": "models/gemini-x",
            "contents": {"parts": {"text": "hi"}},
            "system_instruction": {"parts": {"text": "be brief"}},
            "tools": {"function_declarations": {"name": "f"}},
        }
    )
    assert request.model == "gemini-x"
    assert request.messages == (Message("system", (Text("be brief"),)), HI)
    assert request.tools == (Tool("f"),)
    assert not request.stream


@pytest.mark.parametrize("model", ["provider-1/gpt", "llama3:8b", "a/b:c"])
def test_the_model_may_have_slashes_and_colons(model: str) -> None:
    assert parsed(model=model).model == model


@pytest.mark.parametrize(
    ("thinking", "effort", "budget"),
    [
        ({"thinkingBudget": 0}, "none", None),
        ({"thinkingBudget": -1}, None, None),
        ({"thinkingBudget": 2048}, None, 2048),
        ({"thinkingLevel": "XHIGH"}, "xhigh", None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None),
    ],
)
def test_thinking_is_an_effort_or_a_budget(
    thinking: Json, effort: str | None, budget: int | None
) -> None:
    request = parsed(generationConfig={"thinkingConfig": thinking})
    assert (request.effort, request.thinking_budget) == (effort, budget)


@pytest.mark.parametrize(
    ("mode", "choice"),
    [("AUTO", "auto"), ("VALIDATED", "auto"), ("NONE", "none"), ("ANY", "required")],
)
def test_the_mode_of_calling(mode: str, choice: Any) -> None:
    request = parsed(toolConfig={"functionCallingConfig": {"mode": mode}})
    assert request.tool_choice == ToolChoice(choice)


def test_a_media_type_of_the_answer_that_only_gemini_knows_is_kept_for_it() -> None:
    request = parsed(generationConfig={"responseMimeType": "text/x.enum"})
    assert request.response_format is None
    assert request.extra["fields"]["generationConfig"] == {"responseMimeType": "text/x.enum"}
    json_object = parsed(generationConfig={"responseMimeType": "application/json"})
    assert json_object.response_format == ResponseFormat("json_object")
