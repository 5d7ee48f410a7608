"""Labels prompts: the same one is put to the local and to the strong model, and both are graded.

Everything goes through the gateway's own door, so keys, limits and the ledger hold as for anybody.
The labels are JSON lines as `make train DATA=...` reads them:

    {"prompt": "...", "scores": {"ollama/llama3.2": 0.4, "openai/gpt-4o": 1.0}, "how": "judge"}

A line is written when both models were graded. What the file has is not asked again, so a run that
was stopped goes on; a prompt that failed is tried by the next run.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from gateway.feedback import grade

TRIES = 3
LONGEST_WAIT_S = 30.0
ANSWER_S = 300.0
KEPT_LINE = 2**24
"""Bytes of one kept prompt at most."""


class LabelError(Exception):
    """Nothing can be labelled; says why."""


class AskedInVainError(Exception):
    """One question was not answered; its text is a kind that can be counted."""


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    answer: str | None = None
    """The right one, where it is known."""

    @property
    def key(self) -> str:
        return key_of(self.text)


@dataclass(frozen=True, slots=True)
class Plan:
    """`local` and `strong`: names as any caller writes them. Without `judge` only prompts with a
    known answer can be graded."""

    url: str
    token: str
    local: str
    strong: str
    judge: str | None
    at_once: int = 4
    max_tokens: int = 1024


@dataclass(slots=True)
class Tally:
    """`failed`: how many, by what went wrong."""

    labelled: int = 0
    known: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)


def key_of(text: str) -> str:
    """The same for prompts that differ in case and blanks only, as in training."""
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()


def prompts_of(lines: Iterable[bytes], where: str) -> list[Prompt]:
    """JSON lines with `prompt` and perhaps `answer`. Raises LabelError, which names the line."""
    found: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as fault:
            raise LabelError(f"{where}: line {number}: is no JSON: {fault}") from None
        text = row.get("prompt") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise LabelError(f"{where}: line {number}: 'prompt' is missing or empty")
        right = row.get("answer")
        if right is not None and not isinstance(right, str | int | float):
            raise LabelError(f"{where}: line {number}: 'answer' must be text or a number")
        found.append(Prompt(text, None if right is None else str(right)))
    return found


def sampled(prompts: Iterable[Prompt], limit: int) -> list[Prompt]:
    """`limit` distinct ones, chosen by hash: the same ones in each run."""
    distinct = {prompt.key: prompt for prompt in prompts}
    return [distinct[key] for key in sorted(distinct)[:limit]]


async def kept(url: str, token: str) -> list[Prompt]:
    """The prompts that the gateway kept and nobody judged. Raises LabelError."""
    async with _session(token) as session:
        try:
            where = url + "/feedback/export?labelled=false"
            async with session.get(where) as told:
                if told.status != 200:
                    raise LabelError(f"{where} answered {told.status}: {await _words(told)}")
                lines = [line async for line in _lines(told)]
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise LabelError(f"{url} does not answer: {fault}") from None
    # Those with a word of a caller's are labelled already.
    fresh = [line for line in lines if orjson.loads(line).get("feedback") is None]
    return prompts_of(fresh, "/feedback/export")


async def label(
    plan: Plan, prompts: list[Prompt], out: Path, tell: Callable[[str], None] = lambda line: None
) -> Tally:
    """Appends to `out`. Raises LabelError where the gateway lets us ask nothing."""
    tally = Tally()
    done = _done(out)
    waiting = [prompt for prompt in prompts if prompt.key not in done]
    tally.known = len(prompts) - len(waiting)
    queue = iter(waiting)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab") as file:
        async with _session(plan.token) as session, asyncio.TaskGroup() as group:

            async def work() -> None:
                for prompt in queue:
                    try:
                        row = await _labelled(session, plan, prompt)
                    except AskedInVainError as fault:
                        tally.failed[str(fault)] += 1
                        continue
                    file.write(orjson.dumps(row) + b"\n")
                    file.flush()
                    tally.labelled += 1
                    tally.sums.update(row["scores"])
                    tell(f"{tally.labelled + tally.known} of {len(prompts)}")

            for _ in range(min(plan.at_once, len(waiting))):
                group.create_task(work())
        os.fsync(file.fileno())
    return tally


async def _labelled(session: aiohttp.ClientSession, plan: Plan, prompt: Prompt) -> dict[str, Any]:
    if prompt.answer is None and plan.judge is None:
        raise AskedInVainError("no known answer and no judge")
    scores: dict[str, float] = {}
    for model in (plan.local, plan.strong):
        asked = [{"role": "user", "content": prompt.text}]
        given = await _ask(session, plan, model, asked, max_tokens=plan.max_tokens)
        scores[model] = await _graded(session, plan, prompt, given)
    how = "judge" if prompt.answer is None else "exact"
    row: dict[str, Any] = {"prompt": prompt.text, "scores": scores, "how": how}
    return row if how == "exact" else {**row, "judge": plan.judge}


async def _graded(session: aiohttp.ClientSession, plan: Plan, prompt: Prompt, given: str) -> float:
    if prompt.answer is not None:
        return grade.exact(given, prompt.answer)
    assert plan.judge is not None
    if not given.strip():
        return 0.0
    asked = grade.question(prompt.text, given)
    told = await _ask(session, plan, plan.judge, asked, max_tokens=256, response_format=grade.SHAPE)
    try:
        return grade.grade(told)
    except grade.NoGradeError:
        raise AskedInVainError("the judge gave no grade") from None


async def _ask(
    session: aiohttp.ClientSession,
    plan: Plan,
    model: str,
    messages: list[dict[str, str]],
    **more: Any,
) -> str:
    """Raises AskedInVainError, and LabelError where no further question makes sense."""
    body = {"model": model, "messages": messages, "temperature": 0, **more}
    failure = ""
    for turn in range(TRIES):
        wait = 2.0**turn
        try:
            async with session.post(plan.url + "/v1/chat/completions", json=body) as told:
                if told.status == 200:
                    return _text(await told.read())
                if told.status in (401, 403, 404):
                    raise LabelError(f"{model}: {told.status}: {await _words(told)}")
                failure = f"{model}: status {told.status}"
                if told.status not in (429, 500, 502, 503, 504):
                    break
                wait = float(told.headers.get("Retry-After") or wait)
        except aiohttp.ClientConnectionError:
            failure = f"{model}: no connection"
        except (aiohttp.ClientError, TimeoutError):
            failure = f"{model}: no whole answer"
        if turn < TRIES - 1:
            await asyncio.sleep(min(wait, LONGEST_WAIT_S))
    raise AskedInVainError(failure)


def _text(raw: bytes) -> str:
    try:
        return str(orjson.loads(raw)["choices"][0]["message"]["content"] or "")
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise AskedInVainError("an answer without text") from None


def _done(out: Path) -> set[str]:
    """Keys of what the file has; a line that a kill cut off is taken away."""
    if not out.exists():
        return set()
    raw = out.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) != len(raw):
        with out.open("r+b") as file:
            file.truncate(len(whole))
    return {prompt.key for prompt in prompts_of(whole.splitlines(), out.name)}


async def _lines(told: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    left = b""
    async for piece in told.content.iter_any():
        *lines, left = (left + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(left) > KEPT_LINE:
            raise LabelError("a kept prompt is too long to be read")
    if left.strip():
        yield left


async def _words(told: aiohttp.ClientResponse) -> str:
    """The gateway's own message, as far as it is one."""
    raw = await told.read()
    try:
        return str(orjson.loads(raw)["error"]["message"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return raw[:100].decode("utf-8", "replace")


def _session(token: str) -> aiohttp.ClientSession:
    limit = aiohttp.ClientTimeout(total=ANSWER_S)
    return aiohttp.ClientSession(timeout=limit, headers={"Authorization": f"Bearer {token}"})
