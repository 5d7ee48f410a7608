"""What callers, limits, budgets and the ledger add to a request: CPU, one process, in memory.

    python -m bench.accounts

Prints microseconds of CPU for each step and for all of them, the threads' share included. Each
figure is the best of several rounds of many requests.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable

from chat.events import Usage
from chat.request import ChatRequest, Message, Sampling, Text
from chat.trace import Trace
from dialects.openai import OpenAiDialect
from gateway.accounts.limits import Ticket
from gateway.app import build_app
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Asked, Caller, Settlement
from gateway.engine.routing import Target
from gateway.monitor.recorder import TOGETHER
from gateway.services import SERVICES
from gateway.settings import Settings, Store

ROUNDS = 7
REQUESTS = 10_000
BATCH, BATCHES = 500, 10
PROMPT = "Explain in three sentences why the sky is blue. " * 8
SETTINGS = Settings.model_validate(
    {
        "access": {"admin_token": "bench"},
        "providers": {"lab": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}},
        "prices": {"lab/m": {"input": 1, "output": 30}},
        "codes": {
            "bench-code": {
                "rate_limit": "1000000000/hour",
                "token_limit": "900000000000/hour",
                "max_tokens": 1000,
                "models": ["lab/*"],
                "concurrency": 1000,
                "budget_day": 1_000_000,
                "budget_month": 1_000_000,
                "tokens_day": 10**15,
                "tokens_month": 10**15,
            }
        },
    }
)
HEADERS = {"Authorization": "Bearer bench-code", "Content-Type": "application/json"}


def best(work: Callable[[], object]) -> float:
    """Microseconds of CPU for one call."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(REQUESTS):
            work()
        found.append((time.process_time_ns() - began) / REQUESTS / 1000)
    return min(found)


async def main(folder: str) -> None:
    store = Store(database=f"sqlite:///{folder}/bench.db")
    app = build_app(SETTINGS.model_copy(update={"store": store}), {})
    app.freeze()
    await app.startup()
    services = app[SERVICES]
    provider = services.registry.providers["lab"]
    target = Target(provider, "m", "lab/m")
    identity, limits, ledger = services.identity, services.limits, services.ledger
    dialect = OpenAiDialect()
    body = {
        "model": "lab/m",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 500,
    }
    request = ChatRequest(
        "lab/m", (Message("user", (Text(PROMPT),)),), sampling=Sampling(max_tokens=500)
    )
    trace = Trace("bench")
    usage = Usage(input_tokens=90, output_tokens=200)

    def identified() -> Caller:
        return identity.identify(HEADERS)

    def limited() -> None:
        asked = Asked(dialect, request, body, caller=caller)
        ticket = limits.admit(asked, trace)
        assert isinstance(ticket, Ticket)
        ticket.reserve(asked.request, (target,))
        len(ticket.headers)
        ticket.settle((attempt,))

    async def written() -> float:
        """Rows handed over and written in batches to a SQLite on disk."""
        found = []
        for _ in range(ROUNDS):
            began = time.process_time_ns()
            for _ in range(BATCHES):
                # As the recorder hands them on.
                for _ in range(0, BATCH, TOGETHER):
                    ledger.settled([(time.time(), settlement)] * TOGETHER)
                await ledger.flush()
            found.append((time.process_time_ns() - began) / (BATCH * BATCHES) / 1000)
        return min(found)

    caller = identified()
    attempt = Attempt(target, 0.0, first_at=0.1, ended=0.2, outcome="finished", usage=usage, seen=9)
    settlement = Settlement(
        "finished", "openai", trace, usage, True, caller=caller, attempts=(attempt,)
    )
    try:
        rows = {
            "who asks": best(identified),
            "limits and budgets, reserved and settled": best(limited),
            "the ledger's row, made and written in batches": await written(),
        }
    finally:
        await app.cleanup()
    rows["all of it"] = sum(rows.values())
    print("| step | µs of CPU for a request |\n|---|---|")
    for name, figure in rows.items():
        print(f"| {name} | {figure:.1f} |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
