"""python -m gateway feedback label: labels for the classifier, from kept prompts or a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.environment import Read
from gateway.feedback import label
from gateway.settings import Settings

COMMANDS = ("feedback",)
OUT = Path("var/labels.jsonl")


def command(arguments: list[str], read: Callable[[Path | None], Read]) -> int:
    """0 when all is labelled, 1 when some of it failed or nothing could be asked. Raises
    SettingsError."""
    given = parser().parse_args(arguments)
    settings, _ = read(given.config)()
    try:
        return asyncio.run(_label(given, settings))
    except BaseExceptionGroup as group:
        refused = group.subgroup(label.LabelError)
        if refused is None:
            raise
        sys.stderr.write(f"pointsman: {_first(refused)}\n")
    except (label.LabelError, OSError) as fault:
        sys.stderr.write(f"pointsman: {fault}\n")
    return 1


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    found.add_argument("--config", type=Path, help="default: gateway.toml, where it is there")
    groups = found.add_subparsers(required=True)
    feedback = groups.add_parser("feedback", help="what the classifier learns from")
    labels = feedback.add_subparsers(required=True).add_parser(
        "label",
        help="ask the local and the strong model of a route, grade both, write JSON lines",
        description="The running gateway is asked with ADMIN_TOKEN. A second run goes on.",
    )
    labels.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    labels.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="JSON lines with prompt and perhaps answer; default: the prompts that were kept",
    )
    labels.add_argument("--url", default="", help="of the gateway; default: as the settings say")
    labels.add_argument("--route", default="auto", help="whose tiers are asked (default: auto)")
    labels.add_argument("--local", default="", metavar="MODEL", help="default: the route's first")
    labels.add_argument("--strong", default="", metavar="MODEL", help="default: the route's first")
    labels.add_argument("--judge", metavar="MODEL", help="grades answers where none is known")
    labels.add_argument("--limit", type=_count, default=500, metavar="N", help="default: 500")
    labels.add_argument("--concurrency", type=_count, default=4, metavar="N", help="default: 4")
    labels.add_argument("--max-tokens", type=_count, default=1024, metavar="N", help="of an answer")
    return found


async def _label(given: argparse.Namespace, settings: Settings) -> int:
    plan = _plan(given, settings)
    if given.source is not None:
        with given.source.open("rb") as lines:
            prompts = label.prompts_of(lines, str(given.source))
    else:
        prompts = await label.kept(plan.url, plan.token)
    chosen = label.sampled(prompts, given.limit)
    if not chosen:
        raise label.LabelError(
            "there are no prompts: [feedback] capture keeps them, or --from names a file"
        )
    tally = await label.label(plan, chosen, given.out, _tell)
    sys.stdout.write(f"{given.out}: {tally.labelled} labelled, {tally.known} were there already\n")
    for model, total in sorted(tally.sums.items()):
        sys.stdout.write(
            f"  {model}: {total / tally.labelled:.3f} on the mean of {tally.labelled}\n"
        )
    for kind, count in tally.failed.most_common():
        sys.stdout.write(f"  not labelled: {count} ({kind})\n")
    if not tally.failed:
        sys.stdout.write(f"To learn from them: make train DATA={given.out}\n")
    return 1 if tally.failed else 0


def _plan(given: argparse.Namespace, settings: Settings) -> label.Plan:
    """Raises LabelError."""
    token = settings.access.admin_token
    if not token:
        raise label.LabelError("ADMIN_TOKEN is not set; the gateway printed it at its first start")
    route = settings.routes.get(given.route)
    tiers = [] if route is None else [targets for targets in route.ordered().values() if targets]
    if route is None and not (given.local and given.strong):
        raise label.LabelError(f"there is no route {given.route!r}; name --local and --strong")
    local = given.local or (tiers[0][0] if tiers else "")
    strong = given.strong or (tiers[-1][0] if tiers else "")
    if not local or not strong or local == strong:
        raise label.LabelError(
            f"{given.route} has no two tiers to compare; name --local and --strong"
        )
    server = settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return label.Plan(
        url=(given.url or f"http://{host}:{server.port}").rstrip("/"),
        token=token,
        local=local,
        strong=strong,
        judge=given.judge,
        at_once=given.concurrency,
        max_tokens=given.max_tokens,
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else "")


def _first(group: BaseExceptionGroup[label.LabelError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number of 1 or more")
    return int(text)
