"""The body of generateContent -> a ChatRequest. Both spellings of every field are read.

The door puts the path's model and streaming into the body as `model` and `stream`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.request import (
    ChatRequest,
    Effort,
    Json,
    Message,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolChoice,
)
from dialects import reading
from dialects.gemini.build import NAME
from dialects.gemini.contents import Conversation, many
from dialects.gemini.schema import from_openapi
from dialects.gemini.spelling import camel
from dialects.gemini.thinking import EFFORTS

KNOWN = frozenset(
    ["model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"]
)
CONFIG_KNOWN = frozenset(
    [
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "thinkingConfig",
    ]
)
CONFIG = "generationConfig."
CALLING = "toolConfig.functionCallingConfig"
DECLARATIONS = "functionDeclarations"
CHOICES = {
    "MODE_UNSPECIFIED": None,
    "AUTO": ToolChoice("auto"),
    "VALIDATED": ToolChoice("auto"),
    "ANY": ToolChoice("required"),
    "NONE": ToolChoice("none"),
}


def parse_request(body: Json) -> ChatRequest:
    body = camel(reading.body_object(body))
    model = reading.text(body, "model").removeprefix("models/")
    if not model.strip():
        reading.bad("model", "must not be empty.")
    messages = [*_system(body), *Conversation().read(body)]
    config = camel(reading.optional_object(body, "generationConfig") or {})
    tools, hosted = _tools(body)
    fields = {name: value for name, value in body.items() if name not in KNOWN}
    unknown = {name: value for name, value in config.items() if name not in CONFIG_KNOWN}
    format_, mime = _format(config)
    if mime is not None:
        unknown["responseMimeType"] = mime
    if unknown:
        fields["generationConfig"] = unknown
    if hosted:
        fields["tools"] = hosted
    effort, budget, thoughts = _thinking(config)
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        stream=reading.flag(body, "stream") or False,
        sampling=_sampling(config),
        tools=tools,
        tool_choice=_choice(body, tools, fields),
        response_format=format_,
        effort=effort,
        thinking_budget=budget,
        include_thoughts=thoughts,
        extra={"dialect": NAME, "fields": fields} if fields else {},
    )


def _system(body: Mapping[str, Json]) -> Sequence[Message]:
    content = reading.optional_object(body, "systemInstruction")
    if content is None:
        return ()
    texts = []
    for path, part in many(content, "parts", "systemInstruction."):
        texts.append(Text(reading.text(part, "text", path)))
    return (Message("system", tuple(texts)),) if texts else ()


def _tools(body: Mapping[str, Json]) -> tuple[tuple[Tool, ...], list[Json]]:
    """Functions, and the tools that Google itself runs (googleSearch, codeExecution, ...)."""
    tools: list[Tool] = []
    hosted: list[Json] = []
    for path, item in many(body, "tools"):
        item = camel(item)
        for at, declared in many(item, DECLARATIONS, path):
            tools.append(_tool(camel(declared), at))
        rest = {name: value for name, value in item.items() if name != DECLARATIONS}
        if rest:
            hosted.append(rest)
    return tuple(tools), hosted


def _tool(declared: dict[str, Json], path: str) -> Tool:
    name = reading.filled_text(declared, "name", path)
    parameters = reading.optional_object(declared, "parametersJsonSchema", path)
    old = reading.optional_object(declared, "parameters", path)
    if parameters is not None and old is not None:
        reading.bad(path + "parameters", "and parametersJsonSchema must not both be given.")
    if old is not None:
        parameters = from_openapi(old)
    known = ("name", "description", "parameters", "parametersJsonSchema")
    opaque = {key: value for key, value in declared.items() if key not in known}
    return Tool(
        name=name,
        description=reading.optional_text(declared, "description", path),
        parameters=parameters,
        opaque=opaque or None,
    )


def _choice(
    body: Mapping[str, Json], tools: tuple[Tool, ...], fields: dict[str, Json]
) -> ToolChoice | None:
    config = camel(reading.optional_object(body, "toolConfig") or {})
    calling = camel(reading.optional_object(config, "functionCallingConfig", "toolConfig.") or {})
    rest = {name: value for name, value in config.items() if name != "functionCallingConfig"}
    if rest:
        fields["toolConfig"] = rest
    mode = (reading.optional_text(calling, "mode", CALLING + ".") or "MODE_UNSPECIFIED").upper()
    names = reading.texts(calling, "allowedFunctionNames", CALLING + ".")
    declared = {tool.name for tool in tools}
    for name in names:
        if name not in declared:
            reading.bad(CALLING + ".allowedFunctionNames", f"names no declared function: {name!r}.")
    if mode == "ANY" and names:
        return ToolChoice("named", names)
    if mode not in CHOICES:
        reading.bad(CALLING + ".mode", f"must be AUTO, ANY, NONE or VALIDATED, not {mode!r}.")
    return CHOICES[mode]


def _sampling(config: dict[str, Json]) -> Sampling:
    count = reading.integer(config, "candidateCount", CONFIG, low=1)
    if count is not None and count > 1:
        reading.bad(CONFIG + "candidateCount", "must be 1: one answer is given to one question.")
    top_k = reading.number(config, "topK", CONFIG, low=0)
    return Sampling(
        temperature=reading.number(config, "temperature", CONFIG, low=0, high=2),
        top_p=reading.number(config, "topP", CONFIG, low=0, high=1),
        # A float in the protocol, though only whole numbers make sense.
        top_k=None if top_k is None else int(top_k),
        max_tokens=reading.integer(config, "maxOutputTokens", CONFIG, low=1),
        stop=reading.texts(config, "stopSequences", CONFIG),
        seed=reading.integer(config, "seed", CONFIG),
        presence_penalty=reading.number(config, "presencePenalty", CONFIG, low=-2, high=2),
        frequency_penalty=reading.number(config, "frequencyPenalty", CONFIG, low=-2, high=2),
    )


def _format(config: dict[str, Json]) -> tuple[ResponseFormat | None, str | None]:
    """The format, and a media type that only Gemini knows (text/x.enum)."""
    schema = reading.optional_object(config, "responseJsonSchema", CONFIG)
    old = reading.optional_object(config, "responseSchema", CONFIG)
    if schema is not None and old is not None:
        reading.bad(CONFIG + "responseSchema", "and responseJsonSchema must not both be given.")
    if old is not None:
        schema = from_openapi(old)
    mime = reading.optional_text(config, "responseMimeType", CONFIG)
    if mime not in (None, "", "text/plain", "application/json"):
        if schema is not None:
            reading.bad(CONFIG + "responseMimeType", "must be application/json with a schema.")
        return None, mime
    if schema is not None:
        field = "responseSchema" if old is not None else "responseJsonSchema"
        return ResponseFormat("json_schema", schema=schema, where=CONFIG + field), None
    return (ResponseFormat("json_object") if mime == "application/json" else None), None


def _thinking(config: dict[str, Json]) -> tuple[Effort | None, int | None, bool | None]:
    path = CONFIG + "thinkingConfig."
    thinking = camel(reading.optional_object(config, "thinkingConfig", CONFIG) or {})
    thoughts = reading.flag(thinking, "includeThoughts", path)
    budget = reading.integer(thinking, "thinkingBudget", path, low=-1)
    level = (reading.optional_text(thinking, "thinkingLevel", path) or "").upper()
    if level in ("", "THINKING_LEVEL_UNSPECIFIED"):
        effort: Effort | None = "none" if budget == 0 else None
        # -1 leaves it to the model, which is what saying nothing does.
        return effort, budget if budget is not None and budget > 0 else None, thoughts
    if level not in EFFORTS:
        reading.bad(path + "thinkingLevel", f"must be one of {', '.join(EFFORTS)}, not {level!r}.")
    if budget is not None:
        reading.bad(path + "thinkingBudget", "and thinkingLevel must not both be given.")
    return EFFORTS[level], None, thoughts
