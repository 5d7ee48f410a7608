"""The kinds of work, which of them a benchmark's category is, and which benchmarks are kin."""

from __future__ import annotations

DOMAINS = (
    "chat",
    "code",
    "extraction",
    "knowledge",
    "maths",
    "reasoning",
    "science",
    "translation",
    "writing",
)

# Benchmarks that are too alike for one to be hidden while another is known.
FAMILIES: dict[str, frozenset[str]] = {
    "code": frozenset({"mbpp", "human_eval"}),
    "crux": frozenset({"crux"}),
    "exams": frozenset({"mmlu", "mmlu_pro", "gpqa"}),
    "facts": frozenset({"natural_qa", "trivia_qa"}),
    "maths": frozenset({"math"}),
    "school science": frozenset({"arc_challenge", "openbook_qa"}),
    "winogrande": frozenset({"winogrande"}),
}

_BENCHMARKS = {
    "crux": "code",
    "mbpp": "code",
    "human_eval": "code",
    "math": "maths",
    "gsm8k": "maths",
    "agentverse-mgsm": "maths",
    "arc_challenge": "science",
    "openbook_qa": "science",
    "gpqa": "science",
    "winogrande": "reasoning",
    "commonsense_qa": "reasoning",
    "agentverse-logicgrid": "reasoning",
    "natural_qa": "knowledge",
    "trivia_qa": "knowledge",
    "commongen": "writing",
}
# A word in the name of a category of MMLU or MMLU-Pro; the first that fits decides.
_CATEGORIES = (
    ("math", "maths"),
    ("statistics", "maths"),
    ("algebra", "maths"),
    ("moral_scenarios", "reasoning"),
    ("logic", "reasoning"),
    ("fallacies", "reasoning"),
    ("computer", "science"),
    ("machine_learning", "science"),
    ("physics", "science"),
    ("chemistry", "science"),
    ("biology", "science"),
    ("astronomy", "science"),
    ("engineering", "science"),
)


def family_of(benchmark: str) -> str:
    """The family of a benchmark; one that is in none is a family of its own."""
    return next((name for name, members in FAMILIES.items() if benchmark in members), benchmark)


def domain_of(benchmark: str, category: str) -> str:
    """The kind of work of a labelled prompt; what fits nothing is knowledge."""
    known = _BENCHMARKS.get(benchmark)
    if known is not None:
        return known
    return next((domain for word, domain in _CATEGORIES if word in category), "knowledge")
