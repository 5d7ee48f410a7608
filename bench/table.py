"""From raw figures to the Markdown that people read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import Figure, Results

MARKERS = ("<!-- figures: written by `make bench` -->", "<!-- end of figures -->")

TITLES = {
    "direct": "direct to the upstream",
    "nginx": "nginx",
    "proxy": "bare aiohttp + uvloop proxy",
    "named": "gateway, named model, `/complete`",
    "relay": "gateway, relay, `/v1/chat/completions`",
    "auto": "gateway + classifier, auto, `/complete`",
}


@dataclass(frozen=True)
class Limit:
    """A promise of the gateway, and what came of it."""

    what: str
    values: list[float]
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        return median(self.values) <= self.limit


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that `share` of all values do not exceed."""
    rank = -(-len(ordered) * round(share * 1000) // 1000)
    return ordered[max(0, rank - 1)]


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and smallest to largest where there are several; a dash for none."""
    if not values:
        return "–"
    middle = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def cpu_us(figure: Figure, per: str) -> float | None:
    """CPU microseconds of the subject per request or per chunk."""
    if figure.cpu_s is None:
        return None
    return 1e6 * figure.cpu_s / (figure.seen.requests if per == "request" else figure.seen.chunks)


def per_round(
    results: Results, row: str, phase: str, value: Callable[[Figure], float | None]
) -> dict[int, float]:
    """Round to a value of that round's figure; rounds without one are left out."""
    found = {}
    for figure in results.figures:
        if (figure.row, figure.phase) == (row, phase):
            got = value(figure)
            if got is not None:
                found[figure.round] = got
    return found


def compared(
    one: dict[int, float], other: dict[int, float], how: Callable[[float, float], float]
) -> list[float]:
    """`how(one, other)` in each round that has both: neighbours in time, hit by like noise."""
    return [how(one[number], other[number]) for number in sorted(one.keys() & other.keys())]


def cpu_per_request(results: Results, row: str) -> dict[int, float]:
    return per_round(results, row, "saturated", lambda figure: cpu_us(figure, "request"))


def cpu_per_chunk(results: Results, row: str, phase: str) -> dict[int, float]:
    return per_round(results, row, phase, lambda figure: cpu_us(figure, "chunk"))


def added_ms(results: Results, row: str, share: float) -> list[float]:
    """The row's percentile of latency less that of `direct`, a value a round."""

    def latency(figure: Figure) -> float:
        return percentile(figure.seen.latency_ms, share)

    mine = per_round(results, row, "open", latency)
    direct = per_round(results, "direct", "open", latency)
    return compared(mine, direct, lambda one, other: one - other)


def limits(results: Results) -> list[Limit]:
    """What the gateway promises, as far as this run measured it."""
    found = []
    for row in ("named", "relay"):
        ratio = compared(
            cpu_per_request(results, row),
            cpu_per_request(results, "proxy"),
            lambda one, other: one / other,
        )
        found.append(Limit(f"CPU per request, `{row}` / bare proxy", ratio, 1.6, "x"))
    for row in ("named", "relay"):
        ratio = compared(
            cpu_per_chunk(results, row, "streams"),
            cpu_per_chunk(results, "proxy", "streams"),
            lambda one, other: one / other,
        )
        what = f"CPU per chunk at 100 streams, `{row}` / bare proxy"
        found.append(Limit(what, ratio, 1.6, "x"))
    more = compared(
        cpu_per_request(results, "auto"),
        cpu_per_request(results, "named"),
        lambda one, other: one - other,
    )
    found.append(Limit("CPU per request, `auto` less `named`", more, 700, "µs"))
    count = results.plan.memory_first
    memory = [results.memory_bytes["named"][0] / 1e6] if "named" in results.memory_bytes else []
    found.append(Limit(f"resident memory after {count:,} requests", memory, 120, "MB"))
    found.append(Limit("from exec to ready", results.starts_s.get("gateway", []), 1.5, "s"))
    return [limit for limit in found if limit.values]


def figures_table(results: Results) -> str:
    """One line a row, one column a question."""
    then = results.plan.memory_then
    lines = [
        "| | CPU µs/request, saturated | requests/s | CPU µs/request at 50/s "
        "| added ms p50 at 50/s | added ms p99 at 50/s | CPU µs/chunk, 100 streams "
        f"| CPU µs/chunk, burst | start s | MB after {results.plan.memory_first:,} "
        f"| MB more after {then:,} more |",
        "|---" + "|---:" * 10 + "|",
    ]
    starts = {"named": "gateway"}
    measured = {figure.row for figure in results.figures}
    for row in (row for row in TITLES if row in measured):
        at_50 = per_round(results, row, "open", lambda figure: cpu_us(figure, "request"))
        rates = per_round(
            results, row, "saturated", lambda figure: figure.seen.requests / figure.seen.wall_s
        )
        memory = results.memory_bytes.get(row)
        direct = row == "direct"
        cells = [
            TITLES[row],
            spread(list(cpu_per_request(results, row).values()), 0),
            spread(list(rates.values()), 0),
            spread(list(at_50.values()), 0),
            "0" if direct else spread(added_ms(results, row, 0.50), 2),
            "0" if direct else spread(added_ms(results, row, 0.99), 2),
            spread(list(cpu_per_chunk(results, row, "streams").values()), 1),
            spread(list(cpu_per_chunk(results, row, "burst").values()), 2),
            spread(results.starts_s.get(starts.get(row, row), []), 2),
            f"{memory[0] / 1e6:.0f}" if memory else "–",
            # The sum turns a rounded -0.0 into 0.0.
            f"{round((memory[1] - memory[0]) / 1e6, 1) + 0.0:+.1f}" if memory else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def limits_table(found: Sequence[Limit]) -> str:
    """The promises, the broken ones too."""
    lines = ["| promise | measured | limit | met |", "|---|---:|---:|---|"]
    for limit in found:
        digits = 0 if limit.limit >= 100 else 2
        verdict = "yes" if limit.is_met else "**no**"
        lines.append(
            f"| {limit.what} | {spread(limit.values, digits)} {limit.unit} "
            f"| {limit.limit:g} {limit.unit} | {verdict} |"
        )
    return "\n".join(lines)


def report(results: Results, facts: Sequence[str]) -> str:
    """The whole of what stands between the markers of README.md."""
    parts = [
        "\n".join(f"- {fact}" for fact in facts),
        f"Median of {results.plan.rounds} rounds (smallest..largest).",
        figures_table(results),
    ]
    found = limits(results)
    if found:
        parts += ["### Promises", limits_table(found)]
    remarks = [*results.notes, *_self_check(results)]
    parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)


def write_between_markers(readme: Path, text: str, markers: tuple[str, str] = MARKERS) -> None:
    """Replace what stands between the markers; raises ValueError when a marker is missing."""
    first, last = markers
    before, begin, rest = readme.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{readme.name}: the lines {first!r} and {last!r} must be in it")
    readme.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _self_check(results: Results) -> list[str]:
    """What the load generator says of itself, so that a reader can judge it."""
    remarks = []
    direct = per_round(
        results, "direct", "open", lambda figure: percentile(figure.seen.latency_ms, 0.5)
    )
    if direct:
        worst = per_round(
            results, "direct", "open", lambda figure: percentile(figure.seen.latency_ms, 0.99)
        )
        remarks.append(
            f"Direct latency at 50/s: p50 {spread(list(direct.values()), 2)} ms, "
            f"p99 {spread(list(worst.values()), 2)} ms."
        )
    late = [
        percentile(figure.seen.late_ms, 0.5) for figure in results.figures if figure.seen.late_ms
    ]
    late_99 = [
        percentile(figure.seen.late_ms, 0.99) for figure in results.figures if figure.seen.late_ms
    ]
    if late:
        remarks.append(
            f"The open loop sent at p50 {spread(late, 2)} ms, p99 {spread(late_99, 2)} ms after "
            "each request's moment; latency counts from the moment."
        )
    return remarks
