"""A text has the tokens of its words: what is remembered is what the tokenizer says."""

from __future__ import annotations

import pytest

from classifier import embedding, features, labels
from classifier.embedding import Embedding
from tests.classifier.prompts import UNUSUAL

SPACED = ("a  b", "a   b  c", "x\n  y\n    z", "\t a\t b", "a \n b", "one <s> two", "")
LINES = ("a\nb", "a \nb", "a\n b", "a\n\nb", "\na", "a\n", "\n", "a  \n  b\n c\td", "é\n\n\t。\n")


@pytest.mark.parametrize("text", [*UNUSUAL.values(), *SPACED, *LINES])
def test_the_tokens_of_words_are_the_tokens_of_the_text(text: str, words: Embedding) -> None:
    whole = words.tokenizer.encode(text, add_special_tokens=False).ids
    assert words.tokens(text).tolist() == whole
    assert words.tokens(text).tolist() == whole, "and so they are when remembered"


def test_so_it_is_for_all_prompts_of_our_own(words: Embedding) -> None:
    for prompt in labels.own():
        text = features.bounded(prompt.text).lower()
        assert words.tokens(text).tolist() == (
            words.tokenizer.encode(text, add_special_tokens=False).ids
        )


@pytest.mark.parametrize("space", [" ", "  "])
def test_a_word_at_the_start_of_a_line_is_remembered(space: str, words: Embedding) -> None:
    once = Embedding(words.tokenizer, words.table)
    once.tokens(f"def f(x):\n{space}return x\nprint(f(1))\n{space}return x")
    learnt = dict(once.known)
    once.tokens(f"print(f(1))\nprint(f(1))\n{space}return x")
    assert set(once.known) - set(learnt) == {"print(f(1))"}, "no line is a word with its neighbour"


def test_a_memory_full_of_words_that_came_once_still_learns_those_that_come_again(
    words: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MOST_WORDS", 4)
    small = Embedding(words.tokenizer, words.table)
    small.tokens("one two three four")
    for i in range(20):
        small.tokens(f"once{i}")
        assert len(small.known) <= 4
    small.tokens("common common")
    assert "common" in small.known
    small.tokens("a" * (embedding.LONGEST_WORD + 1))
    assert "a" * (embedding.LONGEST_WORD + 1) not in small.known
