"""A caller's body of POST /v1/messages -> ChatRequest (PROTOCOLS 3.1).

A tool that runs at Anthropic, and a block that only Anthropic can read, ride along for an
Anthropic upstream; others do not see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

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
from dialects.anthropic.blocks import Reader, text_block
from dialects.anthropic.build import TOOL_MARKS
from dialects.anthropic.words import NAME
from dialects.reading import (
    bad,
    body_object,
    filled_text,
    flag,
    integer,
    kind_of,
    number,
    objects,
    optional_object,
    optional_text,
    required_object,
    text,
    texts,
)

_KNOWN: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
    }
)
_EFFORTS: Final = frozenset(get_args(Effort)) - {"none", "minimal"}
_BILLING: Final = "x-anthropic-billing-header:"


def parse_request(body: Json) -> ChatRequest:
    """Raises BadRequest with `param` naming the field."""
    body = body_object(body)
    model = text(body, "model")
    system = _system(body)
    tools, own_tools = _tools(body)
    names = [tool.name for tool in tools] + [tool.get("name") for tool in own_tools]
    choice, parallel = _tool_choice(body, names)
    fields = {name: value for name, value in body.items() if name not in _KNOWN}
    effort, budget, include_thoughts = _thinking(body, fields)
    form, effort = _output(body, effort, fields)
    extra: dict[str, Json] = {}
    user = _user(body, fields)
    if fields:
        extra["fields"] = fields
    if own_tools:
        extra["tools"] = own_tools
    messages = _messages(body)
    sampling = _sampling(body)
    if sampling.max_tokens is None:
        bad("max_tokens", "is required.")
    if extra:
        extra["dialect"] = NAME
    return ChatRequest(
        model=model,
        messages=system + messages,
        stream=flag(body, "stream") or False,
        sampling=sampling,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=form,
        effort=effort,
        thinking_budget=budget,
        include_thoughts=include_thoughts,
        user=user,
        extra=extra,
    )


def _sampling(body: Mapping[str, Json]) -> Sampling:
    return Sampling(
        temperature=number(body, "temperature", low=0, high=1),
        top_p=number(body, "top_p", low=0, high=1),
        top_k=integer(body, "top_k", low=0),
        max_tokens=integer(body, "max_tokens", low=0),
        stop=texts(body, "stop_sequences"),
    )


def _system(body: Mapping[str, Json]) -> tuple[Message, ...]:
    if not isinstance(body.get("system"), list):
        words = optional_text(body, "system")
        parts = [Text(words)] if words is not None else []
    else:
        parts = [text_block(block, path) for path, block in objects(body, "system")]
    shown = _without_billing(parts)
    return (Message("system", shown),) if shown else ()


def _without_billing(parts: list[Text]) -> tuple[Text, ...]:
    """Without Claude Code's billing line, which changes from build to build, tells the model
    nothing and defeats every prompt cache (PROTOCOLS 7.3)."""
    shown = []
    for part in parts:
        words = part.text
        if words.startswith(_BILLING):
            words = words.partition("\n")[2]
        if words:
            shown.append(Text(words, part.opaque))
    return tuple(shown)


def _messages(body: Mapping[str, Json]) -> tuple[Message, ...]:
    reader = Reader()
    found = objects(body, "messages")
    if not found:
        bad("messages", "must hold at least one message.")
    messages: list[Message] = []
    for path, message in found:
        role = text(message, "role", path)
        if role not in ("user", "assistant", "system"):
            bad(f"{path}role", f"must be user, assistant or system, not {role!r}.")
        content = message.get("content")
        if isinstance(content, str):
            parts = [Text(content)]
            messages.append(
                Message("system", _without_billing(parts))
                if role == "system"
                else Message("assistant" if role == "assistant" else "user", tuple(parts))
            )
        elif not isinstance(content, list):
            what = "is required." if content is None else f"not {kind_of(content)}."
            bad(f"{path}content", f"must be a string or a list of blocks: {what}")
        elif role == "system":
            blocks = objects(message, "content", path)
            words = [text_block(block, where) for where, block in blocks]
            messages.append(Message("system", _without_billing(words)))
        elif role == "assistant":
            messages.append(reader.assistant(message, path))
        else:
            messages += reader.user(message, path)
    return tuple(messages)


def _tools(body: Mapping[str, Json]) -> tuple[tuple[Tool, ...], list[Json]]:
    """Tools that the caller runs, and Anthropic's own, raw."""
    tools: list[Tool] = []
    own: list[Json] = []
    for path, tool in objects(body, "tools"):
        kind = optional_text(tool, "type", path)
        if kind not in (None, "custom"):
            own.append(tool)
            continue
        name = filled_text(tool, "name", path)
        schema = required_object(tool, "input_schema", path)
        opaque: dict[str, Json] = {mark: tool[mark] for mark in TOOL_MARKS if mark in tool}
        tools.append(
            Tool(
                name,
                optional_text(tool, "description", path),
                schema,
                flag(tool, "strict", path),
                opaque or None,
            )
        )
    return tuple(tools), own


def _tool_choice(
    body: Mapping[str, Json], names: list[Json]
) -> tuple[ToolChoice | None, bool | None]:
    choice = optional_object(body, "tool_choice")
    if choice is None:
        return None, None
    kind = text(choice, "type", "tool_choice.")
    alone = flag(choice, "disable_parallel_tool_use", "tool_choice.")
    parallel = None if alone is None else not alone
    if kind == "auto":
        return ToolChoice("auto"), parallel
    if kind == "none":
        return ToolChoice("none"), parallel
    if kind == "any":
        return ToolChoice("required"), parallel
    if kind != "tool":
        bad("tool_choice.type", f"must be auto, any, tool or none, not {kind!r}.")
    name = text(choice, "name", "tool_choice.")
    if name not in names:
        bad("tool_choice.name", f"{name!r} is not among the tools.")
    return ToolChoice("named", (name,)), parallel


def _thinking(
    body: Mapping[str, Json], fields: dict[str, Json]
) -> tuple[Effort | None, int | None, bool | None]:
    """Effort ("none" or not said), budget, and whether thoughts are shown. A kind that only
    Anthropic knows rides along in `fields`."""
    thinking = optional_object(body, "thinking")
    if thinking is None:
        return None, None, None
    kind = text(thinking, "type", "thinking.")
    if kind == "disabled":
        return "none", None, None
    display = optional_text(thinking, "display", "thinking.")
    if kind == "enabled":
        budget = integer(thinking, "budget_tokens", "thinking.", low=1024)
        if budget is None:
            bad("thinking.budget_tokens", "is required.")
        return None, budget, display != "omitted"
    if kind == "adaptive":
        # Kept raw too: without an effort there is no other word for it.
        fields["thinking"] = thinking
        return None, None, display != "omitted"
    if kind == "between_tools":
        fields["thinking"] = thinking
        return None, None, None
    return bad("thinking.type", f"must be adaptive, enabled or disabled, not {kind!r}.")


def _output(
    body: Mapping[str, Json], effort: Effort | None, fields: dict[str, Json]
) -> tuple[ResponseFormat | None, Effort | None]:
    """What output_config asks; `effort` is what thinking said, which wins where it said no."""
    config = optional_object(body, "output_config") or {}
    form = _format(config, "output_config.", "format") or _format(body, "", "output_format")
    wanted = optional_text(config, "effort", "output_config.")
    if wanted is not None and wanted not in _EFFORTS:
        bad("output_config.effort", f"must be low, medium, high, xhigh or max, not {wanted!r}.")
    rest = {name: value for name, value in config.items() if name not in ("effort", "format")}
    if rest:
        fields["output_config"] = rest
    known: Effort | None = wanted  # type: ignore[assignment]  # it is one of _EFFORTS
    return form, effort or known


def _format(carrier: Mapping[str, Json], path: str, field: str) -> ResponseFormat | None:
    form = optional_object(carrier, field, path)
    if form is None:
        return None
    kind = text(form, "type", f"{path}{field}.")
    if kind != "json_schema":
        bad(f"{path}{field}.type", f"must be json_schema, not {kind!r}.")
    schema = required_object(form, "schema", f"{path}{field}.")
    return ResponseFormat("json_schema", schema=schema, where=f"{path}{field}.schema")


def _user(body: Mapping[str, Json], fields: dict[str, Json]) -> str | None:
    metadata = optional_object(body, "metadata") or {}
    rest = {name: value for name, value in metadata.items() if name != "user_id"}
    if rest:
        fields["metadata"] = rest
    return optional_text(metadata, "user_id", "metadata.")
