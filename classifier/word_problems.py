"""Word problems of our own: school sums told as stories, harder with every step.

No benchmark of school maths may train what we ship, so none says what makes such a problem hard.
We hold that it is the number of steps: a small model slips in one of many. That is a judgement,
as with the prompts in `prompts/own.tsv`; the numbers in `scores` are ours and measured nowhere.
"""

from __future__ import annotations

import random

SOURCE = "own_word_problems"
COUNT = 480
MOST_STEPS = 8
JOINED = 0.25
SEED = 20_240_607

_NAMES = (
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
    "Priya",
    "Quinn",
    "Rosa",
    "Samir",
    "Tess",
    "Uma",
    "Viktor",
    "Wendy",
    "Yusuf",
    "Zoe",
    "Mr. Okafor",
    "Mrs. Lindqvist",
    "Grandma",
    "Uncle Ravi",
    "the coach",
    "the teacher",
    "a farmer",
    "the baker",
    "Daniel",
    "Marta",
    "Kevin",
    "Alice",
    "Peter",
)
_PLACES = (
    "at the market",
    "at the bakery",
    "on a farm",
    "at the school fair",
    "in the library",
    "at the harbour",
    "at a gas station",
    "in the garden",
    "at the zoo",
    "at work",
    "at the pet shop",
    "in the warehouse",
    "at the cinema",
    "on the train",
    "at a yard sale",
    "in the kitchen",
    "at summer camp",
    "at the gym",
)
_THINGS = (
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
    "eggs",
    "pizzas",
    "toy cars",
    "chickens",
    "roses",
    "pages",
    "miles",
    "cups of flour",
    "pounds of rice",
    "T-shirts",
    "balloons",
    "students",
    "minutes",
    "bags of candy",
    "dollars",
    "trees",
    "fish",
    "photos",
    "chairs",
    "bracelets",
    "video games",
    "puzzle pieces",
)
# What may happen next; {n} {m} are numbers, {thing} what is counted, {more} something else that
# is, {other} another person.
_STEPS = (
    "Then {name} buys {n} more {thing} {place}.",
    "{other} gives {name} {n} {thing} and keeps {m} for the next day.",
    "On Monday {name} sells {n} of the {thing} for ${m} each.",
    "A third of what is left gets lost on the way home.",
    "{other} has twice as many {thing} as {name} has now.",
    "Each of the {n} boxes holds {m} {thing}.",
    "The price rises by {n}% the following week.",
    "{name} shares the rest equally among {n} friends.",
    "Every day for {n} days {other} makes {m} {thing} and gives half of them to {name}.",
    "For each {n} {thing} the shop adds {m} {more} for free.",
    "{name} works {n} hours a week and earns ${m} an hour.",
    "The trip takes {n} minutes longer than the way back, which takes {m} minutes.",
    "1/{n} of the {thing} are red, and the rest are blue.",
    "{other} is {n} years older than {name}, who is half as old as {more_name}.",
    "If {name} spends ${n} on {more} and ${m} on lunch, the rest goes into a savings account.",
    "The first one weighs {n} pounds and the second weighs {m} pounds less than that.",
    "During the second week {name} used three times as many {thing} as during the first.",
    "{name} drives at {n} miles per hour for {m} hours and then stops {place}.",
    "There is a discount of {n}% on every purchase of more than {m} {thing}.",
    "{n}% of them are {more}, and {m} of those are broken.",
    "{other} pays ${n} for each of them, plus a fee of ${m}.",
    "By the end of the month {name} had lost {n} of them but found {m} others {place}.",
    "After that, {other} eats {n} and throws away {m}.",
    "The remaining {thing} are put into bags of {n}.",
)
_STARTS = (
    "{name} has {n} {thing}.",
    "{name} and {other} collect {thing}: {name} has {n} and {other} has {m} more.",
    "A box of {n} {thing} costs ${m} {place}.",
    "There are {n} {thing} and {m} {more} {place}.",
    "{name} wants to buy {thing} that cost ${n} each.",
    "{name} can carry {n} {thing} in {m} minutes.",
    "In a class of {n}, {m} of the children like {thing}.",
    "{name} is planning a party for {n} people, and each guest will need {m} {thing}.",
    "Last year {name} counted {n} {thing} {place}.",
    "It takes {name} {n} hours to pack {m} {thing}.",
)
_QUESTIONS = (
    "How many {thing} does {name} have now?",
    "How much money does {name} have left?",
    "How many {thing} are there altogether?",
    "What is the total cost in dollars?",
    "How many more {thing} does {other} have than {name}?",
    "How many {thing} are left?",
    "How much does {name} pay in total?",
    "How long does it take in minutes?",
    "What percentage of the {thing} remains?",
    "How old is {other}?",
    "How many {thing} does each of them get?",
    "If nothing else changes, how many {thing} will {name} need per week?",
    "What is the average number of {thing} per day?",
    "How much profit does {name} make?",
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
    name, other, third = draw.sample(_NAMES, 3)
    thing, more = draw.sample(_THINGS, 2)
    known = {"name": name, "other": other, "more_name": third, "thing": thing, "more": more}
    told = [
        part.format(
            n=draw.randint(2, 60), m=draw.randint(2, 25), place=draw.choice(_PLACES), **known
        )
        for part in (
            draw.choice(_STARTS),
            *draw.sample(_STEPS, steps),
            draw.choice(_QUESTIONS),
        )
    ]
    # One sentence in four goes on with the one before, so that sentences do not count the steps.
    text = told[0]
    for part in told[1:-1]:
        if draw.random() < JOINED:
            low = part if part.startswith(tuple(_NAMES)) else part[0].lower() + part[1:]
            text = f"{text.removesuffix('.')}, and {low}"
        else:
            text = f"{text} {part[0].upper()}{part[1:]}"
    return f"{text[0].upper()}{text[1:]} {told[-1]}"
