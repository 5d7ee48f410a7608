"""What callers who speak Gemini get wrong, named by its path; and any body at all."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.request import Json
from dialects.gemini import GeminiDialect

DIALECT = GeminiDialect()
TURN: Json = {"role": "user", "parts": [{"text": "hi"}]}
CALL: Json = {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f"}}]}


def refused(body: Json) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        DIALECT.parse_request(body)
    return caught.value


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"model": 3}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "hi"}, "contents"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"role": "model", "parts": []}]}, "contents"),
        ({"contents": [{"role": "user"}]}, "contents[0].parts"),
        ({"contents": [TURN, {"role": "system", "parts": [{"text": "x"}]}]}, "contents[1].role"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"hologram": {}}]}]}, "contents[0].parts[0]"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "$"}}]}]},
            "contents[0].parts[0].inlineData.data",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]},
            "contents[0].parts[0].inlineData.data",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/x", "data": "AAE="}}]}]},
            "contents[0].parts[0].inlineData.mimeType",
        ),
        (
            {"contents": [{"parts": [{"inline_data": {"data": "AAE="}}]}]},
            "contents[0].parts[0].inlineData.mimeType",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"mimeType": "image/png"}}]}]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        (
            {"contents": [{"parts": CALL["parts"]}]},
            "contents[0].parts[0].functionCall",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {"args": {}}}]}]},
            "contents[0].parts[0].functionCall.name",
        ),
        (
            {
                "contents": [
                    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": [1]}}]}
                ]
            },
            "contents[0].parts[0].functionCall.args",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"functionResponse": {"name": "f"}}]}]},
            "contents[0].parts[0].functionResponse",
        ),
        (
            {"contents": [TURN, {"parts": [{"functionResponse": {"name": "f"}}]}]},
            "contents[1].parts[0].functionResponse.name",
        ),
        (
            {"contents": [CALL, {"parts": [{"functionResponse": {"id": "c2", "name": "f"}}]}]},
            "contents[1].parts[0].functionResponse.id",
        ),
        (
            {
                "contents": [
                    CALL,
                    {"parts": [{"functionResponse": {"name": "f", "response": "sun"}}]},
                ]
            },
            "contents[1].parts[0].functionResponse.response",
        ),
        ({"systemInstruction": "be brief"}, "systemInstruction"),
        (
            {"systemInstruction": {"parts": [{"inlineData": {}}]}},
            "systemInstruction.parts[0].text",
        ),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {"tools": [{"function_declarations": [{"name": "f", "parameters": []}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        (
            {
                "tools": [
                    {
                        "functionDeclarations": [
                            {"name": "f", "parameters": {}, "parametersJsonSchema": {}}
                        ]
                    }
                ]
            },
            "tools[0].functionDeclarations[0].parameters",
        ),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        (
            {
                "toolConfig": {
                    "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
                }
            },
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        ({"generationConfig": []}, "generationConfig"),
        ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
        ({"generation_config": {"max_output_tokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"temperature": 3}}, "generationConfig.temperature"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences"),
        ({"generationConfig": {"responseSchema": []}}, "generationConfig.responseSchema"),
        (
            {"generationConfig": {"responseSchema": {}, "responseJsonSchema": {}}},
            "generationConfig.responseSchema",
        ),
        (
            {"generationConfig": {"responseSchema": {}, "responseMimeType": "text/x.enum"}},
            "generationConfig.responseMimeType",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "DEEP"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 1}}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change: Json, param: str) -> None:
    error = refused({"model": "m", "contents": [TURN]} | change)
    assert error.param == param
    assert error.message.startswith(param)


@pytest.mark.parametrize("body", [None, [], "hi", 3])
def test_a_body_that_is_no_object_is_refused(body: Json) -> None:
    assert "JSON object" in refused(body).message


def bodies() -> st.SearchStrategy[Json]:
    words = """
        contents parts text role user model functionCall functionResponse name args id response
        inlineData inline_data mimeType data image/png AAE= fileData fileUri thought result
        thoughtSignature systemInstruction tools functionDeclarations parameters OBJECT type
        generationConfig temperature topK stopSequences responseSchema thinkingConfig properties
        thinkingBudget toolConfig functionCallingConfig mode ANY executableCode code language
    """
    known = st.sampled_from(words.split())
    atoms = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(0, 1), known)
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(known, inner, max_size=4)
        ),
        max_leaves=24,
    )


@settings(max_examples=400)
@given(body=bodies(), contents=bodies(), parts=st.lists(bodies(), max_size=3))
def test_any_body_is_a_request_or_a_bad_request(body: Json, contents: Json, parts: Json) -> None:
    more = body if isinstance(body, dict) else {}
    for each in (contents, [{"role": "model", "parts": parts}], [{"parts": parts}]):
        try:
            request = DIALECT.parse_request({**more, "model": "m", "contents": each})
        except BadRequest:
            continue
        for model in ("gemini-2.0-flash", "gemini-3-pro"):
            try:
                orjson.dumps(DIALECT.build_request(request, model))
            except BadRequest:
                continue
