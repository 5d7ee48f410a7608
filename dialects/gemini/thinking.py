"""How hard a Gemini model thinks: levels since Gemini 3, budgets of tokens for 2.5, none before.

Levels: https://ai.google.dev/gemini-api/docs/thinking. Gemini 3 takes MINIMAL (not its Pro
models), LOW, MEDIUM and HIGH; XHIGH is in the enum since the SDKs of 2026. A request must not
carry a level and a budget at once.
"""

from __future__ import annotations

import re

from chat.request import ChatRequest, Effort, Json

LEVELS: dict[Effort, str] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
"""Thought cannot be turned off from Gemini 3 on; MINIMAL is the least."""

EFFORTS: dict[str, Effort] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}

BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
"""Tokens: what Google's own OpenAI-compatible door gives for each effort."""

LEAST_OF_25_PRO = 128
"""Tokens; Gemini 2.5 Pro refuses a budget of 0."""

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


def generation(model: str) -> tuple[int, int] | None:
    """`gemini-2.5-pro` -> (2, 5); None for names without a version (`gemini-flash-latest`)."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


def signs_calls(model: str) -> bool:
    """Whether the model refuses a function call of the history that has no thoughtSignature."""
    version = generation(model)
    return version is not None and version >= (3, 0)


def thinking_config(request: ChatRequest, model: str) -> dict[str, Json]:
    """`thinkingConfig`; {} where the caller said nothing or the model cannot think."""
    version = generation(model)
    if "gemma" in model or (version is not None and version < (2, 5)):
        return {}
    config: dict[str, Json] = {}
    if request.include_thoughts is not None:
        config["includeThoughts"] = request.include_thoughts
    if version == (2, 5):
        budget = request.thinking_budget
        if budget is None and request.effort is not None:
            budget = BUDGETS[request.effort]
        if budget is not None:
            floor = LEAST_OF_25_PRO if "pro" in model else 0
            config["thinkingBudget"] = max(budget, floor)
    elif request.thinking_budget is not None:
        config["thinkingBudget"] = request.thinking_budget
    elif request.effort is not None:
        level = LEVELS[request.effort]
        if version is not None and version < (4, 0):
            if level == "XHIGH":
                level = "HIGH"
            elif level == "MINIMAL" and "pro" in model:
                level = "LOW"
        config["thinkingLevel"] = level
    return config
