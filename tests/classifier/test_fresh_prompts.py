"""Prompts written after the model was fitted: nothing was turned to make them come out right.

25 of 26 went where they should when this list was written. The floor is lower, so that a better
model elsewhere may lose one here.
"""

from __future__ import annotations

from classifier import labels
from classifier.artefact import Artefact

FLOOR = 23
FRESH = (
    ("local", "hey there, got a minute?"),
    ("local", "What is the capital of Norway?"),
    ("local", "Can you suggest a name for my goldfish?"),
    ("local", "Translate 'see you soon' into Swedish."),
    ("local", "Write a one-line caption for a photo of a sunset."),
    ("local", "How do I uppercase a string in JavaScript?"),
    ("local", "What's 45 divided by 9?"),
    ("local", "¿Qué día viene después del martes?"),
    ("local", "おはようございます"),
    ("local", "Summarise: Tom went to the shop. He bought milk. He went home."),
    ("local", "Who discovered penicillin?"),
    ("local", "List three kinds of cheese."),
    (
        "local",
        "I need a short email asking my landlord to fix the tap. Keep it polite and "
        "mention that it has been dripping since last Sunday, and that I am at home on "
        "weekdays after five.",
    ),
    ("local", "Wie viele Minuten hat eine Stunde?"),
    ("strong", "Prove the fundamental theorem of algebra."),
    ("strong", "Show that a finite integral domain is a field."),
    (
        "strong",
        "Our Kafka consumer sees duplicates after rebalancing even with idempotent "
        "producers; work out why and give a design with effectively-once processing.",
    ),
    ("strong", "Derive the Euler-Lagrange equation and apply it to the brachistochrone."),
    ("strong", "Write a type checker for a small language with row polymorphism."),
    (
        "strong",
        "Compare the doctrine of consideration in English law with causa in French law "
        "before and after 2016.",
    ),
    (
        "strong",
        "¿Puedes demostrar el teorema fundamental del cálculo y explicar dónde se usa la "
        "continuidad?",
    ),
    (
        "strong",
        "Reverse engineer this binary protocol from the hex dumps and write a parser that "
        "resists malformed frames.",
    ),
    (
        "strong",
        "If a clock loses 4 minutes every 3 hours and another gains 2 minutes every 5 "
        "hours, and both were right at noon, when do they next show the same time? Show "
        "the reasoning.",
    ),
    ("strong", "为什么乐观锁在高竞争下性能退化？请建立排队模型并定量分析。"),
    (
        "strong",
        "Critically assess whether quantitative easing increased wealth inequality, using "
        "evidence from at least three countries.",
    ),
    (
        "strong",
        "Plan a migration of a 2 TB monolithic database to shards with no downtime, "
        "including rollback.",
    ),
)


def test_prompts_that_nothing_was_tuned_on_go_where_they_should(shipped: Artefact) -> None:
    local = {text: shipped.scorer(text).score >= shipped.threshold for _, text in FRESH}
    astray = [text for tier, text in FRESH if local[text] != (tier == "local")]
    assert len(FRESH) - len(astray) >= FLOOR, astray


def test_they_were_not_trained_on() -> None:
    known = {text for _, _, text in labels.own_prompts() + labels.own_prompts("golden.tsv")}
    assert not known & {text for _, text in FRESH}
