"""An explanation is true: what it says moved the score does, and what it says flips it does."""

from __future__ import annotations

import json

import aiohttp
import pytest

from classifier import explain, features, labels
from classifier.artefact import Artefact
from classifier.embedding import Embedding
from tests.classifier.prompts import UNUSUAL
from tests.classifier.test_classifier_command import command

HARD = "Prove that there are infinitely many primes of the form 4k + 3."
LONG = " ".join(prompt for _, _, prompt in labels.own_prompts())[:5000]


@pytest.mark.parametrize("name", [*UNUSUAL, "hard", "long", "nothing"])
def test_the_scorings_are_bounded(name: str, shipped: Artefact) -> None:
    text = {**UNUSUAL, "hard": HARD, "long": LONG, "nothing": ""}[name]
    found = explain.explain(shipped, text)
    assert found["scorings"] <= explain.MOST <= 60
    assert found["score"] == shipped.scorer(text).score
    assert found["distance"] == found["score"] - shipped.threshold
    json.dumps(found, allow_nan=False)
    assert explain.as_text(found)


@pytest.mark.parametrize("text", [HARD, LONG, UNUSUAL["Japanese"], UNUSUAL["one long word"]])
def test_a_word_moves_the_score_by_what_is_said(text: str, shipped: Artefact) -> None:
    read = features.bounded(text)
    found = explain.explain(shipped, text)
    assert found["words"]
    for word in found["words"]:
        start, end = word["at"], word["at"] + len(word["text"])
        assert read[start:end] == word["text"]
        rest = read[:start] + read[end + (read[end : end + 1] == " ") :]
        assert found["score"] - shipped.scorer(rest).score == pytest.approx(word["moves"])


def test_the_words_that_flip_do_flip(shipped: Artefact) -> None:
    flipped = 0
    for _, _, prompt in labels.own_prompts("golden.tsv"):
        found = explain.explain(shipped, prompt)
        if found["flip"]["words"] is not None:
            flipped += 1
            assert shipped.tier(found["flip"]["words"]["score"]) == found["flip"]["to"]
            assert found["flip"]["words"]["leave_out"]
        assert found["flip"]["to"] != found["tier"]
    assert flipped


def test_a_telling_word_is_found(shipped: Artefact) -> None:
    found = explain.explain(shipped, HARD)
    assert {word["text"]: word["moves"] for word in found["words"]}["Prove"] < 0
    assert {view["view"] for view in found["views"]} == set(explain.VIEWS)
    assert all(row["feature"] in features.SURFACE_NAMES for row in found["features"])


def test_each_part_of_the_model_has_its_share(shipped: Artefact, words: Embedding) -> None:
    found = explain.explain(shipped, HARD)
    parts = {row["part"]: row["moves"] for row in found["parts"]}
    assert set(parts) == {"expert", "clusters", "own labels"}
    x = features.extract(HARD, words)
    without = shipped.scorer.features(x, without="expert").score
    assert parts["expert"] == pytest.approx(found["score"] - without)
    assert parts["own labels"] == 0


def test_it_says_that_no_training_prompts_are_held(shipped: Artefact) -> None:
    nearest = explain.explain(shipped, "Hi")["nearest_prompts"]
    assert nearest == {"prompts": [], "why": explain.NO_NEIGHBOURS}


async def test_an_explanation_comes_with_the_answer(client: aiohttp.ClientSession) -> None:
    async with client.post("/classify?explain=true", json={"message": HARD}) as response:
        assert response.status == 200
        body = await response.json()
    async with client.post("/classify?explain=false", json={"message": HARD}) as response:
        plain = await response.json()
    why = body.pop("explanation")
    assert set(body) == set(plain)
    assert body["score"] == plain["score"] == why["score"]
    assert why["tier"] == body["tier"]


@pytest.mark.parametrize(
    ("query", "body", "param"),
    [
        ("explain=perhaps", {"message": "Hi"}, "explain"),
        ("explain=true", {"messages": ["Hi"]}, "messages"),
        ("explain=true", {"message": " "}, "message"),
    ],
)
async def test_an_explanation_that_cannot_be_is_refused(
    client: aiohttp.ClientSession, query: str, body: object, param: str
) -> None:
    async with client.post(f"/classify?{query}", json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


@pytest.mark.slow
def test_one_prompt_is_explained_from_the_shell() -> None:
    done = command("explain", HARD)
    assert done.returncode == 0, done.stderr
    assert "Prove" in done.stdout
    assert "to flip it to local" in done.stdout
    assert json.loads(command("explain", "--json", "Hi").stdout)["tier"] == "local"
    assert command("explain", "").returncode == 2
