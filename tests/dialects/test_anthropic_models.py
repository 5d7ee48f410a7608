"""One Claude takes what the next refuses."""

from __future__ import annotations

import pytest

from chat.request import Json
from dialects.anthropic.models import claude, fit

OPUS_4_8, OPUS_5_5, SONNET_5_5 = "claude-opus-4-8", "claude-opus-5-5", "claude-sonnet-5-5"
ENABLED = {"type": "enabled", "budget_tokens": 2000}
ADAPTIVE = {"type": "adaptive"}


def fitted(model: str, *, may_grow: bool = False, **fields: Json) -> dict[str, Json]:
    body = {"max_tokens": 8000, **fields}
    fit(body, model, may_grow=may_grow)
    return body


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("claude-sonnet-4-5-20250929", ("sonnet", (4, 5))),
        ("claude-sonnet-4-20250514", ("sonnet", (4, 0))),
        ("anthropic/claude-opus-4.8", ("opus", (4, 8))),
        ("claude-opus-5", ("opus", (5, 0))),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", ("haiku", (4, 5))),
        ("claude-3-7-sonnet-latest", ("sonnet", (3, 7))),
        ("claude-3-haiku-20240307", ("haiku", (3, 0))),
        ("claude-fable-5-1", ("fable", (5, 1))),
        ("kimi-k2", None),
        ("claude-2.1", None),
    ],
)
def test_a_name_tells_family_and_version(name: str, known: Json) -> None:
    assert claude(name) == known


def test_sampling_is_gone_since_4_7() -> None:
    sampling: dict[str, Json] = {"temperature": 0.2, "top_p": 0.9, "top_k": 5}
    assert fitted("claude-opus-4-6", **sampling) == {"max_tokens": 8000, **sampling}
    assert fitted("a-model-of-others", **sampling) == {"max_tokens": 8000, **sampling}
    assert fitted(OPUS_4_8, **sampling) == {"max_tokens": 8000}


def test_budgets_are_gone_since_4_7_and_adaptive_is_new_in_4_6() -> None:
    body = fitted(OPUS_4_8, thinking={**ENABLED, "display": "omitted"})
    assert body["thinking"] == {"type": "adaptive", "display": "omitted"}
    assert body["output_config"] == {"effort": "medium"}
    assert fitted("claude-sonnet-4-6", thinking=ENABLED)["thinking"] == ENABLED
    body = fitted("claude-haiku-4-5", thinking=ADAPTIVE, output_config={"effort": "medium"})
    assert body == {"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 4096}}
    assert "thinking" not in fitted("claude-3-5-haiku-latest", thinking=ADAPTIVE)
    assert "thinking" not in fitted("claude-3-5-haiku-latest", thinking=ENABLED)


@pytest.mark.parametrize(
    ("model", "effort", "left"),
    [
        ("claude-sonnet-4-5", "high", None),
        ("claude-opus-4-5", "low", "low"),
        ("claude-opus-4-5", "max", "high"),
        ("claude-opus-4-6", "xhigh", "high"),
        ("claude-opus-4-6", "max", "max"),
        (OPUS_4_8, "xhigh", "xhigh"),
        ("other", "xhigh", "xhigh"),
    ],
)
def test_an_effort_is_one_that_the_model_knows(model: str, effort: str, left: str | None) -> None:
    form = {"type": "json_schema", "schema": {}}
    body = fitted(model, output_config={"effort": effort, "format": form})
    assert body["output_config"].get("effort") == left
    assert body["output_config"]["format"] == form


@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-sonnet-4-6", None, None),
        (OPUS_4_8, None, None),
        ("claude-opus-5", {"type": "disabled"}, None),
        ("claude-haiku-5-5", {"type": "disabled"}, None),
        (SONNET_5_5, {"type": "between_tools"}, None),
        (OPUS_5_5, None, "low"),
        ("claude-fable-5-1", None, "low"),
        ("other", {"type": "disabled"}, None),
    ],
)
def test_each_model_has_its_own_way_not_to_think(
    model: str, thinking: Json, effort: str | None
) -> None:
    body = fitted(model, thinking={"type": "disabled"})
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_not_thinking_and_the_highest_efforts_exclude_each_other() -> None:
    body = fitted("claude-opus-5", thinking={"type": "disabled"}, output_config={"effort": "max"})
    assert body["output_config"] == {"effort": "high"}


def test_thinking_forbids_a_forced_tool_and_most_sampling() -> None:
    forced = fitted("claude-sonnet-4-6", thinking=ADAPTIVE, tool_choice={"type": "any"})
    assert forced == {"max_tokens": 8000, "tool_choice": {"type": "any"}}
    sampling: dict[str, Json] = {"temperature": 0.2, "top_p": 0.5, "top_k": 4}
    assert fitted("other", thinking=ADAPTIVE, **sampling) == {
        "max_tokens": 8000,
        "thinking": ADAPTIVE,
    }
    mild: dict[str, Json] = {"temperature": 1, "top_p": 0.99}
    assert fitted("other", thinking=ENABLED, **mild).items() >= mild.items()


def test_a_model_that_always_thinks_is_asked_for_the_tool_in_words() -> None:
    tools = [{"name": "f"}, {"name": "g"}]
    choice = {"type": "tool", "name": "g", "disable_parallel_tool_use": True}
    assert fitted(OPUS_5_5, tools=tools, tool_choice=choice) == {
        "max_tokens": 8000,
        "tools": [{"name": "g"}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "system": "Answer by calling one of the tools.",
    }


def test_a_budget_has_room_below_max_tokens() -> None:
    thinking = {"type": "enabled", "budget_tokens": 9000}
    assert fitted("other", thinking=thinking)["thinking"]["budget_tokens"] == 6000
    grown = fitted("other", thinking=thinking, may_grow=True)
    assert (grown["max_tokens"], grown["thinking"]) == (17000, thinking)
    assert "thinking" not in fitted("other", thinking=thinking, max_tokens=500)
    assert fitted(OPUS_4_8, thinking=ADAPTIVE, may_grow=True)["max_tokens"] == 8000 + 16384


def test_a_budget_wants_the_thought_before_the_call_that_is_answered() -> None:
    def messages(*blocks: Json) -> list[Json]:
        result = {"type": "tool_result", "tool_use_id": "a"}
        return [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [*blocks, {"type": "tool_use", "id": "a"}]},
            {"role": "user", "content": [result]},
        ]

    thought = {"type": "thinking", "thinking": "", "signature": "AAAA"}
    assert "thinking" in fitted("other", thinking=ENABLED, messages=messages(thought))
    assert "thinking" not in fitted("other", thinking=ENABLED, messages=messages())
    assert "thinking" in fitted("other", thinking=ADAPTIVE, messages=messages())


def test_what_is_handed_in_is_not_changed_inside() -> None:
    thinking = {"type": "enabled", "budget_tokens": 9000}
    config = {"effort": "max"}
    fitted(OPUS_4_8, thinking=thinking, output_config=config)
    fitted("claude-opus-4-5", thinking=thinking, output_config=config)
    assert thinking == {"type": "enabled", "budget_tokens": 9000}
    assert config == {"effort": "max"}
