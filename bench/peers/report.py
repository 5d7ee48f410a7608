"""From raw figures to the table in bench/README.md and its plots: the losing rows, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Figure
from bench.peers import svg
from bench.peers.install import VERSIONS
from bench.peers.rounds import CALLERS, PROMPTS, Results
from bench.table import cpu_us, percentile, spread

TITLES = {
    "direct": "direct to the upstream",
    "nginx": "nginx",
    "proxy": "bare aiohttp proxy",
    "relay": "Pointsman, named",
    "named": "Pointsman, translated",
    "auto": "Pointsman, auto (with classifier)",
    "tensorzero": "TensorZero",
    "portkey": "Portkey",
    "litellm": "LiteLLM",
}
OURS = ("relay", "named", "auto")
RIVALS = ("litellm", "portkey", "tensorzero")
COLOURS = {TITLES[row]: svg.OURS for row in OURS} | {
    TITLES[row]: svg.FLOOR for row in ("direct", "nginx", "proxy")
}
STARTED_AS = {"relay": "named", "auto": "named"}
"""Rows of one process: under whose name its start and its memory stand."""


class Figures:
    """One value a round of a row, by what is asked."""

    def __init__(self, results: Results) -> None:
        self.results = results
        there = {figure.row for figure in results.figures}
        self.rows = [row for row in TITLES if row in there]
        self.rates = sorted(
            {
                int(figure.phase.split()[1])
                for figure in results.figures
                if figure.phase.startswith("rate ")
            }
        )

    def each(
        self, row: str, phase: str, value: Callable[[Figure], float | None]
    ) -> dict[int, float]:
        found = {}
        for figure in self.results.figures:
            if (figure.row, figure.phase) == (row, phase):
                got = value(figure)
                if got is not None:
                    found[figure.round] = got
        return found

    def cpu(self, row: str, phase: str, per: str = "request") -> list[float]:
        return list(self.each(row, phase, lambda figure: cpu_us(figure, per)).values())

    def rate(self, row: str, phase: str) -> list[float]:
        rates = self.each(row, phase, lambda one: one.seen.requests / one.seen.wall_s)
        return list(rates.values())

    def added(self, row: str, phase: str, share: float, first: bool = False) -> list[float]:
        """Milliseconds more than `direct` in the same round."""

        def latency(figure: Figure) -> float:
            seen = figure.seen
            return percentile(seen.first_ms if first else seen.latency_ms, share)

        mine = self.each(row, phase, latency)
        direct = self.each("direct", phase, latency)
        return [mine[number] - direct[number] for number in sorted(mine.keys() & direct.keys())]

    def memory(self, row: str, which: str) -> list[float]:
        found = self.results.memory.get(STARTED_AS.get(row, row))
        return [getattr(found, which) / 1e6] if found and row not in ("auto",) else []

    def start(self, row: str) -> list[float]:
        return self.results.starts_s.get(STARTED_AS.get(row, row), []) if row != "auto" else []


def table(figures: Figures, columns: Sequence[tuple[str, Callable[[str], str]]]) -> str:
    lines = [
        "| | " + " | ".join(title for title, _ in columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
    ]
    for row in figures.rows:
        cells = [cell(row) for _, cell in columns]
        if any(cell != "–" for cell in cells):
            lines.append("| " + " | ".join([TITLES[row], *cells]) + " |")
    return "\n".join(lines)


def report(results: Results, facts: Sequence[str]) -> str:
    """The whole of what stands between the markers of README.md."""
    figures = Figures(results)
    versions = ", ".join(VERSIONS.values())
    parts = [
        "\n".join(f"- {fact}" for fact in [*facts, f"Peers: {versions}"]),
        f"{_medians(results)} "
        "CPU is that of the whole process tree, user and system, one core for each subject.",
        "### CPU",
        table(figures, _cpu_columns(figures)),
        "### Latency: an open loop, milliseconds more than direct, p50 / p99",
        table(figures, _latency_columns(figures)),
        "### Throughput, memory, start",
        table(figures, _other_columns(figures)),
    ]
    found = goals(figures)
    if found:
        parts += ["### What it must reach", goals_table(found)]
    parts.append("\n".join(f"![{name}](plots/{name}.svg)" for name in plots(figures)))
    remarks = list(results.notes)
    for row, lost in results.cannot.items():
        remarks += [f"{TITLES[row]} did not get through {one}." for one in lost]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)


def _medians(results: Results) -> str:
    asked, done = results.plan.rounds, results.done
    said = f"Median of {done} round{'s (smallest..largest)' if done != 1 else ''}."
    return said if done == asked else f"{said} Stopped before all {asked} were done."


def _cpu_columns(figures: Figures) -> list[tuple[str, Callable[[str], str]]]:
    def of(phase: str, per: str, digits: int) -> Callable[[str], str]:
        return lambda row: spread(figures.cpu(row, phase, per), digits)

    return [
        *((f"µs/request, {n} callers", of(f"callers {n}", "request", 0)) for n in CALLERS),
        ("µs/request at 50/s", of("rate 50", "request", 0)),
        *((f"µs/request, {size} prompt", of(f"prompt {size}", "request", 0)) for size in PROMPTS),
        ("µs/chunk, 100 streams", of("streams", "chunk", 1)),
        ("µs/chunk, burst", of("burst", "chunk", 2)),
    ]


def _latency_columns(figures: Figures) -> list[tuple[str, Callable[[str], str]]]:
    def of(phase: str, first: bool = False) -> Callable[[str], str]:
        def cell(row: str) -> str:
            low = figures.added(row, phase, 0.5, first)
            if not low:
                return "–"
            return f"{spread(low, 2)} / {spread(figures.added(row, phase, 0.99, first), 2)}"

        return cell

    columns = [(f"{rate}/s", of(f"rate {rate}")) for rate in figures.rates]
    return [*columns, ("first token, 20 streams/s", of("first", first=True))]


def _other_columns(figures: Figures) -> list[tuple[str, Callable[[str], str]]]:
    def rates(callers: int) -> Callable[[str], str]:
        return lambda row: spread(figures.rate(row, f"callers {callers}"), 0)

    def memory(which: str) -> Callable[[str], str]:
        return lambda row: spread(figures.memory(row, which), 0)

    count = figures.results.plan.memory_requests
    return [
        *((f"requests/s, {callers} callers", rates(callers)) for callers in CALLERS),
        ("requests/s of its core at the knee", lambda row: _knee(figures, row)),
        ("MB idle", memory("idle")),
        (f"MB after {count:,}", memory("after")),
        ("MB at most", memory("peak")),
        ("cold start s", lambda row: spread(figures.start(row), 2)),
    ]


def _knee(figures: Figures, row: str) -> str:
    """The number of callers that brought most through, and how much."""
    each = [rates for callers in CALLERS if (rates := figures.rate(row, f"callers {callers}"))]
    return spread(max(each, key=median, default=[]), 0)


@dataclass(frozen=True)
class Goal:
    what: str
    ours: float
    theirs: float | None
    """None: the rival was there, and did not get through this."""
    times: float
    """How many times smaller ours must be; 1 is: not larger."""

    @property
    def is_met(self) -> bool:
        return self.theirs is None or self.ours * self.times <= self.theirs


def goals(figures: Figures) -> list[Goal]:
    """What the row `relay`, which does what the others do, must reach, for each rival that was
    there."""
    asked: list[tuple[str, Callable[[str], list[float]], dict[str, float]]] = [
        (
            "CPU a request, saturated, µs",
            lambda row: figures.cpu(row, "callers 16"),
            {"litellm": 30, "portkey": 4, "tensorzero": 1},
        ),
        (
            "CPU a chunk at 100 streams, µs",
            lambda row: figures.cpu(row, "streams", "chunk"),
            dict.fromkeys(RIVALS, 1),
        ),
        (
            "added p99 at 50/s, ms",
            lambda row: figures.added(row, "rate 50", 0.99),
            dict.fromkeys(RIVALS, 1),
        ),
        (
            "memory after the run, MB",
            lambda row: figures.memory(row, "after"),
            {"litellm": 1, "portkey": 1},
        ),
    ]
    found = []
    for what, value, rivals in asked:
        for rival, times in rivals.items():
            ours, theirs = value("relay"), value(rival)
            if ours and rival in figures.rows:
                words = f"{what}: {times:g} x less than" if times > 1 else f"{what}: at most"
                most = median(theirs) if theirs else None
                found.append(Goal(f"{words} {TITLES[rival]}", median(ours), most, times))
    return found


def goals_table(found: Sequence[Goal]) -> str:
    lines = ["| goal | ours | theirs | theirs / ours | met |", "|---|---:|---:|---:|---|"]
    for goal in found:
        theirs = "did not get through" if goal.theirs is None else svg.figure(goal.theirs)
        ratio = f"{goal.theirs / goal.ours:.1f}" if goal.theirs and goal.ours > 0 else "–"
        lines.append(
            f"| {goal.what} | {svg.figure(goal.ours)} | {theirs} | {ratio} "
            f"| {'yes' if goal.is_met else '**no**'} |"
        )
    return "\n".join(lines)


def plots(figures: Figures) -> dict[str, str]:
    """Name of a file -> SVG; those for which there are figures."""

    def row_values(value: Callable[[str], list[float]]) -> dict[str, float]:
        found = {TITLES[row]: median(got) for row in figures.rows if (got := value(row))}
        return {name: one for name, one in found.items() if one > 0}

    wanted = {
        "cpu-request": (
            "CPU a request, 16 callers",
            "µs",
            row_values(lambda row: figures.cpu(row, "callers 16")),
        ),
        "cpu-chunk": (
            "CPU a chunk, 100 streams",
            "µs",
            row_values(lambda row: figures.cpu(row, "streams", "chunk")),
        ),
        "memory": (
            "Memory after many requests",
            "MB",
            row_values(lambda row: figures.memory(row, "after")),
        ),
    }
    found = {
        name: svg.bars(title, unit, values, COLOURS)
        for name, (title, unit, values) in wanted.items()
        if values
    }
    curves = {}
    for row in figures.rows:
        line = [
            (float(rate), max(median(got), 0.01))
            for rate in figures.rates
            if (got := figures.added(row, f"rate {rate}", 0.99))
        ]
        if row != "direct" and line:
            curves[TITLES[row]] = line
    if curves:
        found["added-p99"] = svg.lines(
            "Added latency, p99", "requests a second, open loop", "ms", curves
        )
    return found
