"""What an Ollama server sends, read; and what it is sent."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest, Broken, Denied, Limit, Rejected, UpstreamError
from chat.events import Finish, Start, StreamEvent, TextDelta, ToolCallDelta, Usage
from chat.request import (
    ChatRequest,
    Effort,
    File,
    Image,
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
from dialects.base import OutboundDialect
from dialects.framing import Frame
from dialects.ollama import OllamaDialect
from tests.dialects.cuts import (
    Recording,
    check_every_cut,
    check_pieces,
    check_recording,
    cuttings,
    play,
    recordings,
)

DIALECT: OutboundDialect = OllamaDialect()
CASES = recordings("ollama")
HI = (Message("user", (Text("hi"),)),)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "Weather of a city.", SCHEMA)
CLOCK = Tool("now")


def built(messages: tuple[Message, ...] = HI, **fields: Any) -> dict[str, Any]:
    return DIALECT.build_request(ChatRequest("auto", messages, **fields), "llama3.2")


# The stream.


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
def test_a_recording_means_the_same_wherever_it_is_cut(recording: Recording) -> None:
    check_recording(DIALECT, recording)


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
@given(data=st.data())
def test_a_recording_means_the_same_at_random_cuts(
    recording: Recording, data: st.DataObject
) -> None:
    check_pieces(DIALECT, recording.response, data.draw(cuttings(recording.response)))


def test_a_long_line_is_read_whole() -> None:
    text = "é" * 150_000
    line = json.dumps({"model": "m", "message": {"content": text}, "done": True}).encode()
    assert len(line) > 300_000
    pieces = [line[at : at + 65536] for at in range(0, len(line), 65536)]
    assert play(DIALECT, pieces).events == [Start(model="m"), TextDelta(text), Finish("stop")]


def test_the_parser_says_when_it_is_done() -> None:
    parser = DIALECT.parser()
    parser.feed(Frame(b'{"message":{"content":"a"},"done":false}'))
    assert parser.done is False
    parser.feed(Frame(b'{"done":true}'))
    assert parser.done is True
    assert list(parser.feed(Frame(b"what is no JSON"))) == []
    assert list(parser.close()) == []


def test_made_up_ids_of_tool_calls_are_unique_over_streams() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true}'
    ids = set()
    for _ in range(50):
        (call,) = (e for e in DIALECT.parser().feed(Frame(line)) if isinstance(e, ToolCallDelta))
        ids.add(call.id)
    assert len(ids) == 50


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "model message content thinking tool_calls function name arguments id done done_reason"
    " prompt_eval_count eval_count error status_code".split()
)
LIKELY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9999) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=25,
)


@given(st.lists(JSON_VALUES | LIKELY | st.dictionaries(FIELDS, LIKELY), max_size=4))
def test_whatever_json_comes_it_is_events_or_an_upstream_error(values: list[Any]) -> None:
    data = b"".join(orjson.dumps(value) + b"\n" for value in values)
    outcome = play(DIALECT, [data])
    events = outcome.events
    assert not events or isinstance(events[0], Start)
    assert sum(isinstance(event, Finish) for event in events) == (outcome.error is None)


@given(st.dictionaries(FIELDS, LIKELY) | JSON_VALUES)
def test_whatever_one_shot_answer_comes_it_is_events_or_an_upstream_error(body: Any) -> None:
    try:
        events = DIALECT.parse_response(body)
    except UpstreamError:
        return
    assert isinstance(events[0], Start)
    assert isinstance(events[-1], Finish)


@given(st.binary(max_size=80))
def test_whatever_bytes_come_they_are_events_or_an_upstream_error(data: bytes) -> None:
    outcome = play(DIALECT, [data])
    assert outcome.error is None or isinstance(outcome.error, UpstreamError)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_arguments_nested_too_deep_are_malformed_and_no_crash(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * 600 + b"1" + closing * 600
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + deep + b"}}]}}"
    error = play(DIALECT, [line]).error
    assert isinstance(error, Broken)
    assert error.code == "malformed"


# The one-shot answer.


def test_a_one_shot_answer_is_events() -> None:
    body = {
        "model": "llama3.2",
        "message": {
            "role": "assistant",
            "content": "Hello",
            "tool_calls": [{"id": "call_9", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }
    expected: list[StreamEvent] = [
        Start(model="llama3.2"),
        TextDelta("Hello"),
        ToolCallDelta(0, "call_9", "f", '{"a":1}'),
        Usage(3, 4),
        Finish("tool_calls"),
    ]
    assert list(DIALECT.parse_response(body)) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "malformed"),
        ("Ollama is running", "malformed"),
        ({}, "cut"),
        ({"message": {"content": "Hel"}, "done": False}, "cut"),
    ],
)
def test_a_one_shot_answer_that_is_none_is_broken(body: Any, code: str) -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parse_response(body)
    assert caught.value.code == code


def test_a_one_shot_answer_may_carry_an_error() -> None:
    with pytest.raises(Broken, match="CUDA error"):
        DIALECT.parse_response({"error": "CUDA error"})


# Errors.


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable", "fallback"),
    [
        (400, b'{"error":"invalid option"}', Rejected, None, False, False),
        (400, b'{"error":"m does not support tools"}', Rejected, "unsupported", False, True),
        (
            400,
            b'{"error":"think value \\"high\\" is not supported for this model"}',
            Rejected,
            "unsupported",
            False,
            True,
        ),
        (
            400,
            b'{"error":"the input length exceeds the context length"}',
            Rejected,
            "context_length_exceeded",
            False,
            True,
        ),
        (
            500,
            b'{"error":"the request exceeds the available context size"}',
            Rejected,
            "context_length_exceeded",
            False,
            True,
        ),
        (401, b'{"error":"unauthorized","signin_url":"u"}', Denied, None, False, True),
        (402, b"", Denied, None, False, True),
        (403, b"", Denied, None, False, True),
        (
            404,
            b'{"error":"model \'x\' not found"}',
            Rejected,
            "model_not_found",
            False,
            True,
        ),
        (404, b"404 page not found", Rejected, None, False, True),
        (408, b"", Broken, None, True, True),
        (413, b"", Rejected, None, False, False),
        (422, b"", Rejected, None, False, False),
        (429, b'{"error":"too many requests"}', Limit, None, False, True),
        (
            429,
            b'{"error":"you\'ve reached your hourly usage limit, please upgrade"}',
            Denied,
            "insufficient_quota",
            False,
            True,
        ),
        (500, b'{"error":{"message":"boom"}}', Broken, None, True, True),
        (
            500,
            b'{"error":"model requires more system memory (5.6 GiB) than is available"}',
            Broken,
            None,
            False,
            True,
        ),
        (502, b"<html><body>Bad Gateway</body></html>", Broken, None, True, True),
        (503, b'{"error":"server busy, please try again."}', Broken, None, True, True),
        (529, b"", Broken, None, True, True),
    ],
)
def test_a_status_says_what_the_engine_should_do(
    status: int,
    body: bytes,
    kind: type[UpstreamError],
    code: str | None,
    retryable: bool,
    fallback: bool,
) -> None:
    error = DIALECT.parse_error(status, {}, body)
    assert type(error) is kind
    assert (error.code, error.retryable, error.fallback) == (code, retryable, fallback)
    assert error.upstream_status == status
    assert error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ({"error": "model 'x' not found, try pulling it first"}, Rejected, "model_not_found"),
        ({"error": "too many concurrent requests"}, Limit, None),
        ({"error": "unauthorized"}, Denied, None),
        ({"error": "prompt is too long"}, Rejected, "context_length_exceeded"),
        ({"error": {"message": "boom"}}, Broken, None),
        ({"error": "boom", "status_code": 429}, Limit, None),
        ({"error": ["?"]}, Broken, None),
    ],
)
def test_an_error_line_has_the_kind_of_its_words(
    line: Any, kind: type[UpstreamError], code: str | None
) -> None:
    error = play(DIALECT, [orjson.dumps(line)]).error
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        (
            {
                "retry-after": "Sat, 21 Nov 2026 09:30:30 GMT",
                "date": "Sat, 21 Nov 2026 09:30:00 GMT",
            },
            30,
        ),
        ({"retry-after": "Sat, 21 Nov 2020 09:30:30 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert DIALECT.parse_error(429, headers, b"").retry_after == seconds
    assert DIALECT.parse_error(503, headers, b"").retry_after == seconds


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef0123456789",
        "0123456789abcdef0123456789abcdef.AbCdEfGh12",
        "AIzaSyA1234567890abcdefg",
        "Bearer opensesame99",
        "api_key=opensesame99",
    ],
)
def test_an_error_never_quotes_a_key(secret: str) -> None:
    body = orjson.dumps({"error": f"bad key {secret} given"})
    for status in (400, 401, 500):
        message = DIALECT.parse_error(status, {}, body).message
        assert secret.split("=")[-1].split()[-1] not in message
        assert message.startswith("bad key ")
        assert message.endswith(" given")


def test_a_long_message_is_shortened() -> None:
    assert len(DIALECT.parse_error(500, {}, b"x" * 4000).message) == 500


@given(st.integers(400, 599), st.binary(max_size=60) | JSON_VALUES.map(orjson.dumps))
def test_whatever_error_body_comes_it_is_named(status: int, body: bytes) -> None:
    assert isinstance(DIALECT.parse_error(status, {}, body), UpstreamError)


# The request.


def test_the_smallest_request() -> None:
    assert built() == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "options": {"num_ctx": 4096},
    }
    assert built(stream=True)["stream"] is True


def test_a_whole_conversation_is_told() -> None:
    messages = (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("What is "), Text("this?"), Image("image/png", "AAEC"))),
        Message(
            "assistant",
            (
                Reasoning("Look first.", signature="c2ln"),
                Reasoning(redacted="opaque"),
                ToolCall("call_a", "get_weather", '{"city": "Köln"}'),
                ToolCall("call_b", "now", ""),
            ),
        ),
        Message("tool", (ToolResult("call_b", (Text("noon"),)),)),
        Message(
            "user",
            (
                Text("And?"),
                ToolResult("call_a", (Text("sunny"), Image("image/png", "AAED")), name="w"),
            ),
        ),
        Message("system", (Text("Answer in German."),)),
        Message("assistant", ()),
    )
    assert built(messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": ["AAEC"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Look first.",
            "tool_calls": [
                {
                    "id": "call_a",
                    "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Köln"}},
                },
                {"id": "call_b", "function": {"index": 1, "name": "now", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "noon", "tool_name": "now", "tool_call_id": "call_b"},
        {
            "role": "tool",
            "content": "sunny",
            "images": ["AAED"],
            "tool_name": "w",
            "tool_call_id": "call_a",
        },
        {"role": "user", "content": "And?"},
        {"role": "system", "content": "Answer in German."},
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize("text", ["{not json", "[1]", '"x"', "3", '{"a":' * 300 + "1" + "}" * 300])
def test_arguments_that_are_no_object_are_kept_raw(text: str) -> None:
    body = built((Message("assistant", (ToolCall("c", "f", text),)),))
    (call,) = body["messages"][0]["tool_calls"]
    assert call["function"]["arguments"] == {"_raw": text}
    orjson.dumps(body)


def test_an_image_by_its_url_is_refused_by_name() -> None:
    messages = (*HI, Message("user", (Text("?"), Image(url="https://example.org/a.png"))))
    with pytest.raises(BadRequest) as caught:
        built(messages)
    assert caught.value.param == "messages[1].content"
    assert "base64" in caught.value.message
    with pytest.raises(BadRequest):
        built((Message("tool", (ToolResult("c", (Image(url="https://example.org/a.png"),)),)),))


def test_a_document_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as caught:
        built((Message("user", (File("document", "application/pdf", "AAEC"),)),))
    assert caught.value.param == "messages[0].content"


def test_sampling_becomes_options_of_the_right_types() -> None:
    # What JSON gave may be 2.0 where Ollama insists on 2.
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=20,
        min_p=0.05,
        max_tokens=64.0,  # type: ignore[arg-type]
        stop=("END",),
        seed=7.0,  # type: ignore[arg-type]
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    options = built(sampling=sampling)["options"]
    assert options == {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 20,
        "min_p": 0.05,
        "num_predict": 64,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "num_ctx": 4096,
    }
    assert type(options["num_predict"]) is int
    assert type(options["seed"]) is int


@pytest.mark.parametrize(
    ("characters", "max_tokens", "context"),
    [
        (10, None, 4096),
        (3 * (4096 - 1024), None, 4096),
        (3 * (4096 - 1024) + 1, None, 8192),
        (10, 8000, 8192),
        (10, 16384, 32768),
        (100_000, None, 65536),
        (300_000, None, 131072),
        (10_000_000, None, 131072),
    ],
)
def test_the_context_holds_the_prompt_and_the_answer(
    characters: int, max_tokens: int | None, context: int
) -> None:
    messages = (Message("user", (Text("x" * characters),)),)
    body = built(messages, sampling=Sampling(max_tokens=max_tokens))
    assert body["options"]["num_ctx"] == context


def test_tools_images_and_wide_scripts_count_into_the_context() -> None:
    big = Tool("f", "d" * 20_000)
    assert built(tools=(big,))["options"]["num_ctx"] == 8192
    pictures = tuple(Image("image/png", "AAEC") for _ in range(4))
    assert built((Message("user", pictures),))["options"]["num_ctx"] == 8192
    assert built((Message("user", (Text("語" * 4000),)),))["options"]["num_ctx"] == 8192


@pytest.mark.parametrize(
    ("most", "characters", "context"),
    [(2048, 10, 4096), (40960, 90_000, 32768), (40960, 200_000, 40960), (262144, 600_000, 262144)],
)
def test_the_largest_context_can_be_set(most: int, characters: int, context: int) -> None:
    request = ChatRequest("auto", (Message("user", (Text("x" * characters),)),))
    assert OllamaDialect(most).build_request(request, "m")["options"]["num_ctx"] == context


def test_tools_keep_the_shape_of_openai() -> None:
    body = built(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("auto"))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Weather of a city.",
                "parameters": SCHEMA,
            },
        },
        {
            "type": "function",
            "function": {"name": "now", "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert body["messages"] == [{"role": "user", "content": "hi"}]


def test_tool_choice_none_drops_the_tools() -> None:
    body = built(tools=(WEATHER,), tool_choice=ToolChoice("none"))
    assert "tools" not in body
    assert body["messages"] == [{"role": "user", "content": "hi"}]


def test_tool_choice_required_adds_a_hint() -> None:
    body = built(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("required"))
    assert len(body["tools"]) == 2
    assert body["messages"][0] == {
        "role": "system",
        "content": "You must call at least one of the tools get_weather, now."
        " Do not answer in plain text.",
    }
    assert body["messages"][1] == {"role": "user", "content": "hi"}


def test_tool_choice_named_shows_only_that_tool_and_adds_a_hint() -> None:
    messages = (Message("system", (Text("Be brief."),)), *HI)
    body = built(messages, tools=(WEATHER, CLOCK), tool_choice=ToolChoice("named", ("now",)))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["now"]
    assert body["messages"][0] == {
        "role": "system",
        "content": "Be brief.\n\nYou must call the tool now. Do not answer in plain text.",
    }


def test_a_schema_becomes_the_format() -> None:
    body = built(response_format=ResponseFormat("json_schema", "Out", SCHEMA, strict=True))
    assert body["format"] == SCHEMA
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON only."}


def test_a_json_object_becomes_the_format_json() -> None:
    body = built(response_format=ResponseFormat("json_object"))
    assert body["format"] == "json"
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON only."}
    assert "format" not in built(response_format=ResponseFormat("text"))


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("max", "max"),
    ],
)
def test_an_effort_becomes_think(effort: Effort, think: bool | str) -> None:
    assert built(effort=effort)["think"] == think


def test_think_is_left_out_unless_someone_asked() -> None:
    assert "think" not in built()
    assert "think" not in built(thinking_budget=4096)
    assert built(thinking_budget=0)["think"] is False


def test_what_a_caller_of_ollama_added_is_sent_on() -> None:
    fields = {
        "keep_alive": "5m",
        "model": "no",
        "options": {"repeat_penalty": 1.1, "num_ctx": 2048, "temperature": 9},
    }
    body = built(sampling=Sampling(temperature=0.5), extra={"dialect": "ollama", "fields": fields})
    assert body["keep_alive"] == "5m"
    assert body["model"] == "llama3.2"
    assert body["options"] == {"repeat_penalty": 1.1, "num_ctx": 2048, "temperature": 0.5}


def test_what_a_caller_of_another_dialect_added_is_not_sent_on() -> None:
    body = built(extra={"dialect": "openai", "fields": {"keep_alive": "5m"}})
    assert "keep_alive" not in body


def test_a_context_that_the_caller_chose_stays_under_the_largest() -> None:
    extra = {"dialect": "ollama", "fields": {"options": {"num_ctx": 10**9}}}
    assert built(extra=extra)["options"]["num_ctx"] == 131072


def test_a_stream_of_every_cut_gives_these_events() -> None:
    check_every_cut(
        DIALECT,
        '{"model":"m","message":{"content":"né👋"},"done":false}\n{"done":true}\n'.encode(),
        [Start(model="m"), TextDelta("né👋"), Finish("stop")],
    )
