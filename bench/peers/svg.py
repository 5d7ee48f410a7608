"""Plots as SVG, drawn by hand: bars for one figure of each row, lines over a rate."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, ROW, LEFT, RIGHT, TOP = 760, 30, 300, 90, 56
HEIGHT = 380
OURS, OTHERS, FLOOR = "#1f6f5c", "#8a94a6", "#c9ced8"
INKS = ("#1f6f5c", "#d1703c", "#5566aa", "#a03a55", "#8a7a1f", "#4a9bb5", "#777777", "#222222")


def bars(title: str, unit: str, values: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Horizontal bars on a logarithmic scale, in the order given; each with its number."""
    height = TOP + ROW * len(values) + 24
    low = 10 ** math.floor(math.log10(min(values.values())))
    high = max(values.values())
    span = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        whole = math.log10(high) - math.log10(low) or 1.0
        return span * (math.log10(value) - math.log10(low)) / whole

    parts = _head(height, f"{title} ({unit}, logarithmic)")
    for number, (name, value) in enumerate(values.items()):
        top = TOP + number * ROW
        long = max(2.0, x(value))
        parts += [
            _text(LEFT - 8, top + 17, name, "end"),
            f'<rect x="{LEFT}" y="{top + 4}" width="{long:.1f}" height="{ROW - 10}" '
            f'fill="{colours.get(name, OTHERS)}"/>',
            _text(LEFT + long + 6, top + 17, figure(value)),
        ]
    return "\n".join([*parts, "</svg>\n"])


def lines(
    title: str, across: str, unit: str, values: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """A line for each row over `across`; the scale of the values is logarithmic."""
    points = [point for row in values.values() for point in row]
    xs = sorted({x for x, _ in points})
    low = 10 ** math.floor(math.log10(min(max(y, 0.01) for _, y in points)))
    high = 10 ** math.ceil(math.log10(max(y for _, y in points)))
    left, right, bottom = 64, 250, HEIGHT - 44

    def place(x: float, y: float) -> tuple[float, float]:
        across_share = (x - xs[0]) / ((xs[-1] - xs[0]) or 1)
        up = math.log10(max(y, low) / low) / (math.log10(high / low) or 1)
        return left + (WIDTH - left - right) * across_share, bottom - (bottom - TOP) * up

    parts = _head(HEIGHT, f"{title} ({unit}, logarithmic)")
    step = low
    while step <= high * 1.001:
        _, y = place(xs[0], step)
        parts.append(
            f'<line x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_text(left - 8, y + 4, figure(step), "end"))
        step *= 10
    for x in xs:
        parts.append(_text(place(x, low)[0], bottom + 20, f"{x:g}", "middle"))
    parts.append(_text((left + WIDTH - right) / 2, HEIGHT - 6, across, "middle"))
    for number, (name, row) in enumerate(values.items()):
        ink = INKS[number % len(INKS)]
        places = [place(x, y) for x, y in row]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}"/>' for x, y in places]
        top = TOP + 20 * number
        parts.append(
            f'<rect x="{WIDTH - right + 16}" y="{top}" width="12" height="12" fill="{ink}"/>'
        )
        parts.append(_text(WIDTH - right + 34, top + 11, name))
    return "\n".join([*parts, "</svg>\n"])


def write(folder: Path, plots: Mapping[str, str]) -> None:
    """Name of a plot -> its SVG, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in plots.items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")


def figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _head(height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        '<style>text{font:13px sans-serif;fill:#222}</style><rect width="100%" height="100%" '
        'fill="#fff"/>',
        f'<text x="12" y="28" style="font-size:16px">{escape(title)}</text>',
    ]


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
