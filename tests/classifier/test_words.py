"""A text has the tokens of its words: what is remembered is what the tokenizer says."""

from __future__ import annotations

import pytest

from classifier import features, labels
from classifier.embedding import Embedding
from tests.classifier.prompts import UNUSUAL

SPACED = ("a  b", "a   b  c", "x\n  y\n    z", "\t a\t b", "a \n b", "one <s> two", "")


@pytest.mark.parametrize("text", [*UNUSUAL.values(), *SPACED])
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
