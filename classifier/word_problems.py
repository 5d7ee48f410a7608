"""Word problems of our own: school sums told as stories, harder with every step.

No benchmark of school maths may train what we ship, so none says what makes such a problem hard.
We hold that it is the number of steps: a small model slips in one of many. That is a judgement,
as with the prompts in `prompts/own.tsv`; the numbers in `scores` are ours and measured nowhere.
"""

from __future__ import annotations

import random

SOURCE = "own_word_problems"
COUNT = 320
MOST_STEPS = 8
SEED = 20_240_607

_NAMES = [
    "Amara",
    "Bilal",
    "Chen",
    "Dora",
    "Emeka",
    "Farah",
    "Goran",
    "Hana",
    "Iris",
    "Jonas",
    "Kofi",
    "Lena",
    "Milo",
    "Nadia",
    "Omar",
]
_PLACES = [
    "the market",
    "the bakery",
    "her uncle's farm",
    "the school fair",
    "the library",
    "the harbour",
]
_THINGS = [
    "apples",
    "stamps",
    "marbles",
    "books",
    "tickets",
    "cookies",
    "shells",
    "pencils",
    "candles",
    "bottles",
]
# What may happen next; {n} {m} are numbers, {thing} what is counted, {other} another person.
_STEPS = (
    "Then {name} buys {n} more {thing} at {place}.",
    "{other} gives {name} {n} {thing} and keeps {m} for the next day.",
    "On Monday {name} sells {n} of the {thing} for ${m} each.",
    "A third of what is left gets lost on the way home.",
    "{other} has twice as many {thing} as {name} has now.",
    "Each of the {n} boxes holds {m} {thing}.",
    "The price rises by {n}% the following week.",
    "{name} shares the rest equally among {n} friends.",
    "Every day for {n} days {other} makes {m} {thing} and gives half of them to {name}.",
    "For each {n} {thing} the shop adds {m} for free.",
    "{name} works {n} hours a week and earns ${m} an hour.",
    "The trip takes {n} minutes longer than the way back, which takes {m} minutes.",
)
_STARTS = (
    "{name} has {n} {thing}.",
    "{name} and {other} collect {thing}: {name} has {n} and {other} has {m} more.",
    "A box of {n} {thing} costs ${m} at {place}.",
    "There are {n} {thing} on a table and {m} in a basket.",
)
_QUESTIONS = (
    "How many {thing} does {name} have now?",
    "How much money does {name} have left?",
    "How many {thing} are there altogether?",
    "What is the total cost in dollars?",
    "How many more {thing} does {other} have than {name}?",
)


def problems() -> list[tuple[int, str]]:
    """(steps, text) of each problem; the same ones every time."""
    draw = random.Random(SEED)  # noqa: S311
    return [(1 + i % MOST_STEPS, _problem(draw, 1 + i % MOST_STEPS)) for i in range(COUNT)]


def scores(steps: int) -> tuple[float, float]:
    """(small, strong): the chance of each that we hold likely; a slip costs the small one more."""
    return 0.95 * 0.93**steps, 0.99 * 0.985**steps


def answer_tokens(steps: int) -> float:
    """Tokens of an answer that shows its work."""
    return 30.0 + 22.0 * steps


def _problem(draw: random.Random, steps: int) -> str:
    name, other = draw.sample(_NAMES, 2)
    known = {"name": name, "other": other, "thing": draw.choice(_THINGS)}
    parts = [draw.choice(_STARTS), *draw.sample(_STEPS, steps), draw.choice(_QUESTIONS)]
    return " ".join(
        part.format(
            n=draw.randint(2, 60), m=draw.randint(2, 25), place=draw.choice(_PLACES), **known
        )
        for part in parts
    )
