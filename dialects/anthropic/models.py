"""What one Claude takes and the next refuses, by its name.

Sources: the vendor's migration guides up to 5.5 (sampling is gone since 4.7, budgets of thought
too; Opus 5.5 and Fable cannot stop thinking and take no forced tool; Sonnet 5.5 says
`between_tools`), and bug threads for 4.5 to 4.8. A name that is no Claude's is left as it is.
"""

from __future__ import annotations

import re
from typing import Final

from chat.request import Json
from dialects.anthropic.words import FORCED

_NEW_NAME: Final = re.compile(r"claude-(opus|sonnet|haiku|fable)-(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME: Final = re.compile(r"claude-(\d)(?:[-.](\d{1,2}))?-(opus|sonnet|haiku)")

_BUDGETS: Final = {"low": 1024, "medium": 4096, "high": 16384, "xhigh": 24576, "max": 24576}
_LEAST_BUDGET: Final = 1024
_MUST_CALL: Final = "Answer by calling one of the tools."

Claude = tuple[str, tuple[int, int]]


def claude(model: str) -> Claude | None:
    """Family and version: "claude-sonnet-4-5-20250929" -> ("sonnet", (4, 5)). None: no Claude."""
    name = model.lower()
    if found := _NEW_NAME.search(name):
        return found[1], (int(found[2]), int(found[3] or 0))
    if found := _OLD_NAME.search(name):
        return found[3], (int(found[1]), int(found[2] or 0))
    return None


def takes_format(model: str) -> bool:
    """Whether it knows output_config.format: Claude since Opus 4.1 and Sonnet 4.5; a name that
    is no Claude's is taken to."""
    known = claude(model)
    return known is None or known[1] >= ((4, 1) if known[0] == "opus" else (4, 5))


def fit(body: dict[str, Json], model: str, *, may_grow: bool) -> None:
    """Changes what this model would refuse, in place; values inside of `body` are replaced, not
    changed. `may_grow`: max_tokens is ours and not the caller's, so thoughts may add to it."""
    known = claude(model)
    if known is not None:
        _fit_generation(body, known)
    _fit_thinking(body, known, may_grow)


def add_system(body: dict[str, Json], text: str) -> None:
    """One more paragraph at the end of the system prompt."""
    system = body.get("system")
    if not system:
        body["system"] = text
    elif isinstance(system, str):
        body["system"] = f"{system}\n\n{text}"
    else:
        body["system"] = [*system, {"type": "text", "text": text}]


def _fit_generation(body: dict[str, Json], known: Claude) -> None:
    version = known[1]
    if version >= (4, 7):
        for knob in ("temperature", "top_p", "top_k"):
            body.pop(knob, None)
    kind = _kind(body.get("thinking"))
    effort = _effort(body)
    if kind in ("enabled", "adaptive") and version < (3, 7):
        del body["thinking"]
    elif kind == "enabled" and version >= (4, 7):
        thinking = body["thinking"]
        if effort is None:
            _set_effort(body, _effort_for(thinking.get("budget_tokens")))
        body["thinking"] = {
            name: value for name, value in thinking.items() if name != "budget_tokens"
        } | {"type": "adaptive"}
    elif kind == "adaptive" and version < (4, 6):
        budget = _BUDGETS.get(effort or "high", _BUDGETS["high"])
        body["thinking"] = body["thinking"] | {"type": "enabled", "budget_tokens": budget}
    elif kind == "disabled":
        _stop_thinking(body, known)
    effort = _effort(body)
    if version < (4, 6) and known != ("opus", (4, 5)):
        _set_effort(body, None)
    elif (version < (4, 6) and effort in ("xhigh", "max")) or (
        version < (4, 7) and effort == "xhigh"
    ):
        _set_effort(body, "high")
    if _never_stops_thinking(known) and _kind(body.get("tool_choice")) in FORCED:
        _ask_for_tool(body)


def _fit_thinking(body: dict[str, Json], known: Claude | None, may_grow: bool) -> None:
    """Thinking forbids a forced tool and most sampling; a budget wants room below max_tokens,
    and a tool's answer that comes back wants the thought before its call."""
    kind = _kind(body.get("thinking"))
    if kind not in ("enabled", "adaptive"):
        return
    if _kind(body.get("tool_choice")) in FORCED:
        _stop_thinking(body, known)
        return
    if kind == "enabled" and not _fit_budget(body, may_grow):
        _stop_thinking(body, known)
        return
    if kind == "adaptive" and may_grow:
        body["max_tokens"] += _BUDGETS.get(_effort(body) or "high", _BUDGETS["high"])
    if body.get("temperature") != 1:
        body.pop("temperature", None)
    body.pop("top_k", None)
    top_p = body.get("top_p")
    if isinstance(top_p, int | float) and top_p < 0.95:
        del body["top_p"]


def _fit_budget(body: dict[str, Json], may_grow: bool) -> bool:
    """False: this request cannot think with a budget."""
    if _is_loop_without_thought(body.get("messages")):
        return False
    thinking = body["thinking"]
    budget, most = thinking.get("budget_tokens"), body.get("max_tokens")
    if not isinstance(budget, int) or not isinstance(most, int):
        return True
    if may_grow:
        body["max_tokens"] = most + budget
    elif most <= _LEAST_BUDGET:
        return False
    elif budget >= most:
        body["thinking"] = thinking | {"budget_tokens": max(_LEAST_BUDGET, most * 3 // 4)}
    return True


def _is_loop_without_thought(messages: Json) -> bool:
    """Whether the last turn answers a tool call that no thought came before."""
    if not isinstance(messages, list) or len(messages) < 2:
        return False
    call, answer = messages[-2], messages[-1]
    first = _blocks(call)[:1]
    return (
        any(_kind(block) == "tool_result" for block in _blocks(answer))
        and any(_kind(block) == "tool_use" for block in _blocks(call))
        and _kind(first[0]) not in ("thinking", "redacted_thinking")
    )


def _blocks(message: Json) -> list[Json]:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, list) else []


def _stop_thinking(body: dict[str, Json], known: Claude | None) -> None:
    """The model's own way not to think; where it has none, as little as it can."""
    body.pop("thinking", None)
    if known is None:
        return
    family, version = known
    if _never_stops_thinking(known):
        _set_effort(body, _effort(body) or "low")
    elif family == "sonnet" and version >= (5, 5):
        body["thinking"] = {"type": "between_tools"}
    elif version >= (5, 0):
        body["thinking"] = {"type": "disabled"}
        if _effort(body) in ("xhigh", "max"):
            _set_effort(body, "high")


def _never_stops_thinking(known: Claude) -> bool:
    family, version = known
    return family == "fable" or (family == "opus" and version >= (5, 5))


def _ask_for_tool(body: dict[str, Json]) -> None:
    """In place of a forced tool: the choice is left open, and the words ask for it."""
    choice = body["tool_choice"]
    name = choice.get("name")
    tools = body.get("tools")
    if _kind(choice) == "tool" and isinstance(tools, list):
        body["tools"] = [
            tool for tool in tools if isinstance(tool, dict) and tool.get("name") == name
        ] or tools
    body["tool_choice"] = {key: value for key, value in choice.items() if key != "name"} | {
        "type": "auto"
    }
    add_system(body, _MUST_CALL)


def _kind(value: Json) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def _effort(body: dict[str, Json]) -> str | None:
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    return effort if isinstance(effort, str) else None


def _set_effort(body: dict[str, Json], effort: str | None) -> None:
    config = body.get("output_config")
    rest = {key: value for key, value in config.items() if key != "effort"} if config else {}
    if effort is not None:
        rest["effort"] = effort
    if rest:
        body["output_config"] = rest
    else:
        body.pop("output_config", None)


def _effort_for(budget: Json) -> str:
    tokens = budget if isinstance(budget, int) else _BUDGETS["high"]
    for effort, most in _BUDGETS.items():
        if tokens <= most:
            return effort
    return "max"
