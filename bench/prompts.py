"""Prompts of one length, no two alike: no cache of a subject may help it."""

import random
from collections.abc import Iterator

LENGTH = 400
"""Characters in every prompt."""
FRESH = 3000
"""Characters of a longer one that are drawn; they come again until it is full."""

_OPENINGS = (
    "Explain how",
    "Write a function that shows",
    "Compare in two paragraphs",
    "Summarise for a colleague",
    "Prove or disprove that",
    "Translate into French",
    "List the reasons why",
    "Refactor this code so that",
)
_VOCABULARY = (
    "the a of and to in is for with that on as by from which when "
    "network server request answer latency model memory python function class index query "
    "database table column integer string array sorted graph matrix vector probability theorem "
    "derivative integral equation prime number sum history empire river mountain language grammar "
    "verb sentence story character poem winter market price contract law doctor patient protein "
    "energy temperature pressure electron light engine bridge city school student teacher music "
    "colour garden kitchen recipe bread water salt minutes between during before because however "
    "therefore without should could return print while if else true false error test value list"
)
_WORDS = _VOCABULARY.split()


def prompts(seed: int, count: int, length: int = LENGTH) -> Iterator[str]:
    """`count` English-looking prompts of exactly `length` characters, the same for one seed."""
    chance = random.Random(seed)
    for number in range(count):
        words = [chance.choice(_OPENINGS), *chance.choices(_WORDS, k=min(length, FRESH) // 3)]
        text = " ".join(words) + " "
        # A long one repeats itself, as drawing its words would take longer than asking.
        text *= -(-length // len(text))
        # The number makes each one new whatever chance says.
        yield f"{seed}.{number}: {text}"[: length - 1] + "?"
