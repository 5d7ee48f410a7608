"""What is taken out of a prompt before it is kept, and what is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.feedback.redact import redacted


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Write to ann.b+c@mail.example.org now", "Write to <email> now"),
        ("key sk-proj-abcdefghijklmnop1234 leaked", "key <secret> leaked"),
        ("AKIAABCDEFGHIJKLMNOP", "<secret>"),
        ("postgresql://u:hunter2@db/x", "postgresql://u:<secret>@db/x"),
        ("ping 192.168.10.4 twice", "ping <ip> twice"),
        ("card 4111 1111 1111 1111 please", "card <card> please"),
        ("call +49 30 1234567 today", "call <phone> today"),
        ("DE89 3704 0044 0532 0130 00", "<account>"),
    ],
)
def test_it_is_taken_out(text: str, kept: str) -> None:
    assert redacted(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "What is 1234567890123 + 9876543210987?",
        "def f(x): return x @ y",
        "Version 3.11.7 came in 2023-06-06.",
        "Add 12 and 30, then 1990 to 2024.",
    ],
)
def test_tasks_stay_what_they_are(text: str) -> None:
    assert redacted(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_redacted_twice(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once or "<" in once


def test_hostile_text_is_no_slow_text() -> None:
    """Patterns that backtrack would take minutes here."""
    began = time.process_time()
    for letter in ("a@", "1 ", "a.", "+1 ", "x://a:", "DE12 "):
        redacted(letter * 20_000)
    assert time.process_time() - began < 20
