"""A ChatRequest -> the body of generateContent. The model and streaming stand in the path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chat.request import (
    ChatRequest,
    File,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects import arguments
from dialects.gemini.media import type_of_data, type_of_url
from dialects.gemini.schema import for_parameters, for_response, to_openapi
from dialects.gemini.signatures import signed
from dialects.gemini.thinking import generation, signs_calls, thinking_config
from dialects.upstream_errors import unsupported

NAME = "gemini"
SIBLINGS = ("thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata")
"""Fields beside a part's content that ride along in `opaque`."""
RAW_PART = "geminiPart"
"""The key in `Text.opaque` of a whole part that only Gemini can read."""
RAW_RESPONSE = "geminiResponse"
"""The key in `ToolResult.opaque` of a functionResponse.response that is no plain text."""

MAX_STOPS = 5
MAX_SEED = 2**31


@dataclass
class _Content:
    role: str
    results: list[Json] = field(default_factory=list)
    others: list[Json] = field(default_factory=list)

    def rendered(self) -> dict[str, Json]:
        # Gemini counts the responses against the calls of the turn before; they go first.
        return {"role": self.role, "parts": [*self.results, *self.others]}


def build_body(request: ChatRequest, model: str) -> dict[str, Json]:
    """Raises Rejected (the next target may be asked) for a file that only another vendor has."""
    system, contents = _conversation(request, model)
    body: dict[str, Json] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    old = _takes_openapi_only(model)
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declared(t, old) for t in request.tools]}]
        if request.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _chosen(request.tool_choice)}
    config = _sampled(request.sampling) | _formatted(request.response_format, old)
    thinking = thinking_config(request, model)
    if thinking:
        config["thinkingConfig"] = thinking
    if config:
        body["generationConfig"] = config
    if request.extra.get("dialect") == NAME:
        fields = request.extra.get("fields")
        if isinstance(fields, Mapping):
            _fill(body, fields)
    return body


def _takes_openapi_only(model: str) -> bool:
    version = generation(model)
    return version is not None and version < (2, 5)


def _conversation(request: ChatRequest, model: str) -> tuple[list[Json], list[Json]]:
    """The parts of the system instruction, and the contents with alternating roles."""
    system: list[Json] = []
    contents: list[_Content] = []
    names: dict[str, str] = {}
    signs = signs_calls(model)
    for message in request.messages:
        if message.role == "system" and not contents:
            system += [{"text": part.text} for part in _texts(message) if part.text]
            continue
        content = _Content("model" if message.role == "assistant" else "user")
        for part in message.parts:
            if isinstance(part, ToolCall):
                names[part.id] = part.name
            _add(content, part, names)
        if signs:
            content.others[:] = signed(content.others)
        if not content.results and not content.others:
            continue
        if contents and contents[-1].role == content.role:
            contents[-1].results += content.results
            contents[-1].others += content.others
        else:
            contents.append(content)
    if contents:
        return system, [content.rendered() for content in contents]
    # A conversation needs a user's turn; one of a system prompt alone makes that its turn.
    return [], [{"role": "user", "parts": system or [{"text": ""}]}]


def _texts(message: Message) -> Iterable[Text]:
    return (part for part in message.parts if isinstance(part, Text))


def _add(content: _Content, part: Part, names: Mapping[str, str]) -> None:
    if isinstance(part, ToolResult):
        content.results.append(_result(part, names))
        content.others += [_blob(piece) for piece in part.parts if isinstance(piece, Image)]
    elif isinstance(part, Text):
        raw = part.opaque.get(RAW_PART) if part.opaque else None
        beside = _beside(part.opaque)
        if raw is not None:
            content.others.append(raw)
        elif part.text or beside:
            content.others.append({"text": part.text, **beside})
    elif isinstance(part, ToolCall):
        call = {"id": part.id, "name": part.name, "args": arguments.as_object(part.arguments)}
        signature = {"thoughtSignature": part.signature} if part.signature else {}
        content.others.append({"functionCall": call, **signature})
    elif isinstance(part, Reasoning):
        # A thought that Gemini did not sign says nothing to it.
        if part.vendor == NAME and part.signature:
            thought = {"text": part.text, "thought": True, "thoughtSignature": part.signature}
            content.others.append(thought)
    else:
        content.others.append(_blob(part) | _beside(part.opaque))


def _beside(opaque: Mapping[str, Json] | None) -> dict[str, Json]:
    return {name: opaque[name] for name in SIBLINGS if name in opaque} if opaque else {}


def _result(part: ToolResult, names: Mapping[str, str]) -> dict[str, Json]:
    response = part.opaque.get(RAW_RESPONSE) if part.opaque else None
    if not isinstance(response, dict):
        response = {"error" if part.is_error else "result": part.text}
    name = part.name or names.get(part.call_id) or part.call_id
    return {"functionResponse": {"id": part.call_id, "name": name, "response": response}}


def _blob(part: Image | File) -> dict[str, Json]:
    if part.data is not None:
        return {"inlineData": {"mimeType": type_of_data(part), "data": part.data}}
    if not part.url:
        raise unsupported("a picture or a file that only another vendor has")
    media_type = part.media_type or type_of_url(part.url)
    return {"fileData": {"fileUri": part.url, **({"mimeType": media_type} if media_type else {})}}


def _declared(tool: Tool, old: bool) -> dict[str, Json]:
    declared: dict[str, Json] = {"name": tool.name}
    if tool.description:
        declared["description"] = tool.description
    if tool.parameters is not None:
        if not old:
            declared["parametersJsonSchema"] = for_parameters(tool.parameters)
        elif tool.parameters.get("properties"):
            # The old field refuses an OBJECT without properties.
            declared["parameters"] = to_openapi(tool.parameters)
    for name in ("behavior", "response", "responseJsonSchema"):
        if tool.opaque and name in tool.opaque:
            declared[name] = tool.opaque[name]
    return declared


def _chosen(choice: ToolChoice) -> dict[str, Json]:
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": list(choice.names)}
    return {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}


def _sampled(sampling: Sampling) -> dict[str, Json]:
    """min_p has no place here; of the stops the first five are taken; the seed is an int32."""
    top_k, limit = sampling.top_k, sampling.max_tokens
    said: dict[str, Json] = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": top_k if top_k is not None and top_k > 0 else None,
        "maxOutputTokens": limit if limit is not None and limit > 0 else None,
        "stopSequences": [stop for stop in sampling.stop if stop][:MAX_STOPS] or None,
        "seed": None if sampling.seed is None else sampling.seed % MAX_SEED,
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
    }
    return {name: value for name, value in said.items() if value is not None}


def _formatted(format_: ResponseFormat | None, old: bool) -> dict[str, Json]:
    if format_ is None or format_.kind == "text":
        return {}
    config: dict[str, Json] = {"responseMimeType": "application/json"}
    if format_.kind == "json_schema" and format_.schema is not None:
        if old:
            config["responseSchema"] = to_openapi(format_.schema)
        else:
            config["responseJsonSchema"] = for_response(format_.schema)
    return config


def _fill(body: dict[str, Json], fields: Mapping[str, Json]) -> None:
    """Adds what is not there: into objects field by field, to `tools` at the end."""
    for name, value in fields.items():
        here = body.get(name)
        if name == "tools" and isinstance(value, list):
            body[name] = [*(here or ()), *value]
        elif isinstance(here, dict) and isinstance(value, Mapping):
            body[name] = {**value, **here}
        elif name not in body:
            body[name] = value
