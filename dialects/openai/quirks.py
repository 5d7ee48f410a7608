"""Where hosts that speak OpenAI Chat Completions differ from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class OpenAiQuirks:
    """What one upstream wants. The defaults suit any compatible host.

    `max_tokens_field`: OpenAI's own reasoning models know only max_completion_tokens; most
    other hosts know only max_tokens.
    `send_stream_options`: ask for usage at the end of a stream.
    `developer_role`: call the system's role "developer"; templates of open models refuse it.
    `reasoning_effort`: the host knows the field of that name.
    `top_k`: the host knows top_k and min_p, which OpenAI refuses.
    `think_tags`: the model thinks aloud between <think> and </think> in its content.
    `reasoning_history`: the host wants earlier thoughts back as reasoning_content.
    `structured`: the most that the host enforces of a response_format; "words" sends none.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    send_stream_options: bool = True
    developer_role: bool = False
    reasoning_effort: bool = True
    top_k: bool = False
    think_tags: bool = False
    reasoning_history: bool = False
    structured: Literal["json_schema", "json_object", "words"] = "json_schema"
