"""A request in our words -> the body of POST /api/chat (PROTOCOLS 5.2, 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.request import (
    ChatRequest,
    Effort,
    File,
    Image,
    Json,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from dialects import arguments
from dialects.ollama import sizing
from dialects.upstream_errors import unsupported

THINK: dict[Effort, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
JSON_HINT = "Answer with JSON only."


def build_request(request: ChatRequest, model: str, sizes: Sequence[int]) -> dict[str, Json]:
    """`sizes` are the contexts that may be asked for. Raises Rejected (the next target may
    be asked) for what Ollama has no place for: an image behind a URL, a document, a sound."""
    own = _own_fields(request)
    tools = _tools(request)
    messages = _hinted(_messages(request.messages), _hints(request, tools))
    body: dict[str, Json] = {"model": model, "messages": messages, "stream": request.stream}
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema":
        body["format"] = wanted.schema or "json"
    elif wanted is not None and wanted.kind == "json_object":
        body["format"] = "json"
    think = _think(request, own)
    if think is not None:
        body["think"] = think
    body["options"] = _options(request, own, sizes, messages, body.get("tools"))
    for field, value in own.items():
        if field != "think":
            body.setdefault(field, value)
    return body


def _own_fields(request: ChatRequest) -> Mapping[str, Json]:
    """What a caller of this same dialect sent beyond our words."""
    if request.extra.get("dialect") != "ollama":
        return {}
    fields = request.extra.get("fields")
    return fields if isinstance(fields, Mapping) else {}


def _options(
    request: ChatRequest,
    own: Mapping[str, Json],
    sizes: Sequence[int],
    messages: Sequence[Json],
    tools: Json,
) -> dict[str, Json]:
    sampling = request.sampling
    theirs = own.get("options")
    options: dict[str, Json] = dict(theirs) if isinstance(theirs, Mapping) else {}
    ours: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": _whole(sampling.top_k),
        "min_p": sampling.min_p,
        "num_predict": _whole(sampling.max_tokens),
        "stop": list(sampling.stop) or None,
        "seed": _whole(sampling.seed),
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    options.update((name, value) for name, value in ours.items() if value is not None)
    asked = options.get("num_ctx")
    if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
        options["num_ctx"] = min(asked, sizes[-1])
    else:
        answer = _whole(sampling.max_tokens) or sizing.DEFAULT_ANSWER
        tokens = sizing.prompt_tokens(messages, tools) + answer
        options["num_ctx"] = sizing.context_for(tokens, sizes)
    return options


def _whole(number: float | None) -> int | None:
    """Ollama refuses a float where it wants an int."""
    return None if number is None else int(number)


def _think(request: ChatRequest, own: Mapping[str, Json]) -> bool | str | None:
    if request.effort is None:
        # A model that does not think refuses `think`, so it is sent only when someone asked.
        return False if request.thinking_budget == 0 else None
    # `true` is not `medium`: models without levels refuse a level.
    if request.effort == "medium" and own.get("think") is True:
        return True
    return THINK[request.effort]


def _tools(request: ChatRequest) -> tuple[Tool, ...]:
    """Ollama has no tool_choice: `none` hides the tools, `named` shows only those named."""
    choice = request.tool_choice
    if choice is None or choice.mode in ("auto", "required"):
        return request.tools
    if choice.mode == "none":
        return ()
    return tuple(tool for tool in request.tools if tool.name in choice.names) or request.tools


def _tool(tool: Tool) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _hints(request: ChatRequest, tools: Sequence[Tool]) -> list[str]:
    """Words for what Ollama has no field for."""
    hints = []
    choice = request.tool_choice
    if tools and choice is not None and choice.mode in ("required", "named"):
        names = ", ".join(tool.name for tool in tools)
        one = f"the tool {names}" if len(tools) == 1 else f"at least one of the tools {names}"
        hints.append(f"You must call {one}. Do not answer in plain text.")
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text":
        hints.append(JSON_HINT)
    return hints


def _hinted(messages: list[dict[str, Json]], hints: Sequence[str]) -> list[dict[str, Json]]:
    """In the leading system message: many templates know no other."""
    if not hints:
        return messages
    hint = "\n".join(hints)
    if messages and messages[0]["role"] == "system":
        first = messages[0]
        said = first["content"]
        return [{**first, "content": f"{said}\n\n{hint}" if said else hint}, *messages[1:]]
    return [{"role": "system", "content": hint}, *messages]


def _messages(messages: Sequence[Message]) -> list[dict[str, Json]]:
    built: list[dict[str, Json]] = []
    names: dict[str, str] = {}
    for position, message in enumerate(messages):
        path = f"messages[{position}].content"
        # Tool results come first: they answer the turn before.
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        built += (_result(part, names, path) for part in results)
        if not results or len(results) < len(message.parts):
            built.append(_message(message, names, path))
    return built


def _message(message: Message, names: dict[str, str], path: str) -> dict[str, Json]:
    thoughts: list[str] = []
    images: list[str] = []
    calls: list[dict[str, Json]] = []
    for part in message.parts:
        if isinstance(part, Image):
            images.append(_image(part, path))
        elif isinstance(part, Reasoning):
            thoughts.append(part.text)
        elif isinstance(part, ToolCall):
            names[part.id] = part.name
            calls.append(_call(part, len(calls)))
        elif isinstance(part, File):
            raise unsupported(f"the {part.kind} in {path}", path)
    written: dict[str, Json] = {"role": message.role, "content": message.text}
    thinking = "".join(thoughts)
    if thinking:
        written["thinking"] = thinking
    if images:
        written["images"] = images
    if calls:
        written["tool_calls"] = calls
    return written


def _call(call: ToolCall, index: int) -> dict[str, Json]:
    function = {
        "index": index,
        "name": call.name,
        "arguments": arguments.as_object(call.arguments),
    }
    return {"id": call.id, "function": function}


def _result(result: ToolResult, names: Mapping[str, str], path: str) -> dict[str, Json]:
    written: dict[str, Json] = {"role": "tool", "content": result.text}
    images = [_image(part, path) for part in result.parts if not isinstance(part, Text)]
    if images:
        written["images"] = images
    name = result.name or names.get(result.call_id)
    if name:
        written["tool_name"] = name
    if result.call_id:
        written["tool_call_id"] = result.call_id
    return written


def _image(image: Image, path: str) -> str:
    if image.data is None:
        raise unsupported(f"the image in {path}, which is no base64 data", path)
    return image.data
