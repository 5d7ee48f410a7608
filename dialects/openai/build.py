"""ChatRequest -> the body of POST /v1/chat/completions (PROTOCOLS 2.1 and 6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from chat.request import (
    ChatRequest,
    File,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.addresses import is_address
from dialects.images import image_type
from dialects.openai.quirks import OpenAiQuirks
from dialects.structured import in_words
from dialects.upstream_errors import unsupported

Body: TypeAlias = dict[str, Json]

AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")


def build_request(request: ChatRequest, model: str, quirks: OpenAiQuirks) -> Body:
    """Raises Rejected (the next target may be asked) for what this language cannot say."""
    body: Body = {"model": model, "messages": _messages(request.messages, quirks)}
    if request.stream:
        body["stream"] = True
        if quirks.send_stream_options:
            body["stream_options"] = {"include_usage": True}
    _add_sampling(body, request, quirks)
    _add_tools(body, request)
    if request.response_format is not None:
        _add_format(body, request.response_format, quirks)
    if quirks.reasoning_effort:
        effort = request.effort or _effort_of(request.thinking_budget)
        if effort is not None:
            body["reasoning_effort"] = effort
    if request.user is not None:
        body["user"] = request.user
    if request.extra.get("dialect") == "openai":
        body = {**request.extra.get("fields", {}), **body}
    return body


def _messages(messages: Iterable[Message], quirks: OpenAiQuirks) -> list[Body]:
    said: list[Body] = []
    # Tool messages stay together, so what they show waits until the last of them.
    shown: list[Body] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        for result in results:
            said.append(_result(result))
            shown += _images_of(result)
        if results and not rest:
            continue
        if shown:
            said.append({"role": "user", "content": shown})
            shown = []
        said.append(_message(message, rest, quirks))
    if shown:
        said.append({"role": "user", "content": shown})
    return said


def _message(message: Message, parts: Sequence[Part], quirks: OpenAiQuirks) -> Body:
    body: Body
    if message.role == "system":
        role = "developer" if quirks.developer_role else "system"
        body = {"role": role, "content": _text_only(parts, "\n\n", message.role)}
    elif message.role == "assistant":
        body = _assistant(parts, quirks)
    else:
        body = {"role": "user", "content": _content(parts)}
    if message.name is not None:
        body["name"] = message.name
    return body


def _result(result: ToolResult) -> Body:
    content = result.text
    if not content and _images_of(result):
        content = "The result is in the images of the next user message."
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}


def _images_of(result: ToolResult) -> list[Body]:
    images = [_image(part) for part in result.parts if isinstance(part, Image)]
    return [_text(f"Images of tool result {result.call_id}:"), *images] if images else []


def _assistant(parts: Sequence[Part], quirks: OpenAiQuirks) -> Body:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    calls = [part for part in parts if isinstance(part, ToolCall)]
    body: Body = {"role": "assistant", "content": text or (None if calls else "")}
    if quirks.reasoning_history:
        thoughts = "".join(part.text for part in parts if isinstance(part, Reasoning))
        if thoughts:
            body["reasoning_content"] = thoughts
    if calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in calls
        ]
    for part in parts:
        if isinstance(part, Image | File):
            raise unsupported("an image or a file in an assistant's message")
    return body


def _text_only(parts: Sequence[Part], separator: str, role: str) -> str:
    for part in parts:
        if not isinstance(part, Text):
            raise unsupported(f"{type(part).__name__} in a message of the {role}")
    return separator.join(part.text for part in parts if isinstance(part, Text))


def _content(parts: Sequence[Part]) -> Json:
    """A block that only its own vendor can read is a Text of no words: there is nothing to say."""
    parts = [part for part in parts if not isinstance(part, Text) or part.text]
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_part(part) for part in parts]


def _part(part: Part) -> Body:
    if isinstance(part, Text):
        return _text(part.text)
    if isinstance(part, Image):
        return _image(part)
    if isinstance(part, File):
        return _audio(part) if part.kind == "audio" else _document(part)
    raise unsupported(f"{type(part).__name__} in a message of the user")


def _text(text: str) -> Body:
    return {"type": "text", "text": text}


def _image(image: Image) -> Body:
    if image.data is not None:
        media_type = image.media_type or image_type(image.data) or "image/png"
        url = f"data:{media_type};base64,{image.data}"
    elif image.url is not None and is_address(image.url):
        url = image.url
    else:
        raise unsupported("an image without data, or one that only another vendor has")
    shown: Body = {"url": url}
    if image.detail is not None:
        shown["detail"] = image.detail
    return {"type": "image_url", "image_url": shown}


def _audio(file: File) -> Body:
    kind = AUDIO_FORMATS.get(file.media_type or "")
    if file.data is None or kind is None:
        raise unsupported(f"audio of type {file.media_type}, or audio that is only named")
    return {"type": "input_audio", "input_audio": {"data": file.data, "format": kind}}


def _document(file: File) -> Body:
    known = file.opaque or {}
    if known.get("dialect") == "openai" and "file_id" in known:
        return {"type": "file", "file": {"file_id": known["file_id"]}}
    if file.data is None:
        raise unsupported("a document that is only named")
    media_type = file.media_type or "application/pdf"
    name = file.name or "document." + media_type.rpartition("/")[2]
    data = f"data:{media_type};base64,{file.data}"
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def _add_sampling(body: Body, request: ChatRequest, quirks: OpenAiQuirks) -> None:
    sampling = request.sampling
    said = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        quirks.max_tokens_field: sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "top_k": sampling.top_k if quirks.top_k else None,
        "min_p": sampling.min_p if quirks.top_k else None,
    }
    body.update((field, value) for field, value in said.items() if value is not None)


def _add_tools(body: Body, request: ChatRequest) -> None:
    """tool_choice and parallel_tool_calls are refused where there are no tools."""
    tools = request.tools
    choice = request.tool_choice
    if choice is not None and len(choice.names) > 1:
        tools = tuple(tool for tool in tools if tool.name in choice.names)
    if not tools:
        return
    body["tools"] = [_tool(tool) for tool in tools]
    if choice is not None:
        body["tool_choice"] = _choice(choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls


def _tool(tool: Tool) -> Body:
    function: Body = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = (
        {"type": "object", "properties": {}} if tool.parameters is None else dict(tool.parameters)
    )
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> Json:
    if choice.mode != "named":
        return choice.mode
    if len(choice.names) == 1:
        return {"type": "function", "function": {"name": choice.names[0]}}
    return "required"


def _add_format(body: Body, wanted: ResponseFormat, quirks: OpenAiQuirks) -> None:
    if wanted.kind == "text":
        return
    if quirks.structured == "words" or (
        quirks.structured == "json_object" and wanted.schema is not None
    ):
        body["messages"].insert(0, {"role": "system", "content": in_words(wanted)})
        if quirks.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        return
    if wanted.kind == "json_object" or wanted.schema is None:
        body["response_format"] = {"type": "json_object"}
        _mention_json(body["messages"])
        return
    schema: Body = {
        "name": _NOT_IN_A_NAME.sub("_", wanted.name or "response")[:64],
        "schema": dict(wanted.schema),
    }
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    if wanted.description is not None:
        schema["description"] = wanted.description
    body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _mention_json(messages: list[Body]) -> None:
    """OpenAI answers 400 to json_object when no message holds the word."""
    for message in messages:
        content = message.get("content")
        pieces = content if isinstance(content, list) else [{"text": content}]
        if any("json" in str(piece.get("text", "")).lower() for piece in pieces):
            return
    messages.insert(0, {"role": "system", "content": "Answer with one JSON object."})


def _effort_of(budget: int | None) -> str | None:
    """Tokens of thought as an effort (PROTOCOLS 6.6); -1 lets the model decide."""
    if budget is None or budget < 0:
        return None
    if budget == 0:
        return "none"
    if budget < 4096:
        return "low"
    return "medium" if budget < 16384 else "high"
