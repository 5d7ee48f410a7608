"""`python -m deploy.dashboards`: writes deploy/grafana/dashboards/*.json from the rows below.

A panel is a title, a unit and its queries; where it stands follows from its place in the list. A
test runs every query against a real Prometheus that scrapes real services.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
PICKED = 'route=~"$route",provider=~"$provider"'
RATE = "$__rate_interval"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


@dataclass(frozen=True)
class Panel:
    """`queries`: what a line is called (Grafana's {{label}} form) -> PromQL."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    stack: bool = False


def quantile(share: float, metric: str, by: str = "", picked: str = PICKED) -> str:
    labels = f"le, {by}" if by else "le"
    chosen = f"{{{picked}}}" if picked else ""
    buckets = f"sum by ({labels}) (rate({metric}_bucket{chosen}[{RATE}]))"
    return f"histogram_quantile({share}, {buckets})"


def rates(
    title: str,
    legend: str,
    metric: str,
    picked: str = PICKED,
    *,
    unit: str = "ops",
    stack: bool = False,
) -> Panel:
    """A second's worth, a line for each value of the labels that the legend names."""
    chosen = f"{{{picked}}}" if picked else ""
    by = ", ".join(re.findall(r"{{(\w+)}}", legend))
    return Panel(
        title, unit, {legend: f"sum by ({by}) (rate({metric}{chosen}[{RATE}]))"}, stack=stack
    )


def times(title: str, metric: str, *shares: float, picked: str = PICKED) -> Panel:
    """A line for each percentile."""
    lines = {f"p{share * 100:.0f}": quantile(share, metric, picked=picked) for share in shares}
    return Panel(title, "s", lines)


def share(part: str, whole: str) -> str:
    return f"(sum(rate({part}[{RATE}])) or vector(0)) / sum(rate({whole}[{RATE}]))"


GATEWAY = (
    Panel(
        "Requests a second",
        "reqps",
        {"now": f"sum(rate(pointsman_requests_total{{{PICKED}}}[{RATE}]))"},
        kind="stat",
    ),
    Panel(
        "Failed, of all that were not hung up on",
        "percentunit",
        {
            "now": share(
                f'pointsman_requests_total{{{PICKED},outcome="failed"}}',
                f'pointsman_requests_total{{{PICKED},outcome=~"finished|failed"}}',
            )
        },
        kind="stat",
    ),
    Panel("In flight", "short", {"now": "sum(pointsman_in_flight)"}, kind="stat"),
    rates(
        "Requests by how they ended",
        "{{outcome}}",
        "pointsman_requests_total",
        unit="reqps",
        stack=True,
    ),
    times("Time to the first token", "pointsman_first_token_seconds", 0.5, 0.95, 0.99),
    times("Time of a whole answer", "pointsman_request_seconds", 0.5, 0.95, 0.99),
    rates(
        "Requests by target",
        "{{provider}}/{{model}}",
        "pointsman_requests_total",
        unit="reqps",
        stack=True,
    ),
    Panel(
        "First token by provider, p95",
        "s",
        {"{{provider}}": quantile(0.95, "pointsman_first_token_seconds", "provider")},
    ),
    rates(
        "Attempts that failed, by kind",
        "{{provider}} {{outcome}}",
        "pointsman_attempts_total",
        'provider=~"$provider",outcome!~"finished|cancelled"',
    ),
    rates("Fallbacks, by whom was left", "{{provider}}/{{model}}", "pointsman_fallbacks_total"),
    rates("Errors that callers saw, by kind", "{{kind}} at {{door}}", "pointsman_errors_total"),
    rates(
        "Tokens a second",
        "{{provider}} {{direction}}",
        "pointsman_tokens_total",
        unit="short",
        stack=True,
    ),
    rates("Tiers chosen", "{{tier}}, {{source}}", "pointsman_decisions_total", "", stack=True),
    Panel(
        "Routed without the classifier",
        "percentunit",
        {
            "share": share(
                'pointsman_decisions_total{source="failure"}', "pointsman_decisions_total"
            )
        },
    ),
    times(
        "Classifier, as the gateway sees it", "pointsman_classifier_seconds", 0.5, 0.99, picked=""
    ),
    Panel(
        "In flight by gateway",
        "short",
        {"{{instance}}": "sum by (instance) (pointsman_in_flight)"},
    ),
    Panel(
        "Reloads of the settings",
        "short",
        {"{{instance}} {{outcome}}": "sum by (instance, outcome) (pointsman_reloads_total)"},
    ),
    Panel("Gateways that answer", "short", {"up": 'sum(up{job=~".*pointsman"})'}),
    Panel(
        "Jobs that wait and run",
        "short",
        {"waiting": "max(pointsman_jobs_waiting)", "running": "max(pointsman_jobs_running)"},
    ),
    Panel("Age of the job that waits longest", "s", {"age": "max(pointsman_jobs_oldest_seconds)"}),
    rates("Jobs by how they ended", "{{status}}", "pointsman_jobs_total", "", stack=True),
    rates("Rows of the ledger", "{{outcome}}", "pointsman_ledger_rows_total", ""),
    Panel("Rows that wait for the database", "short", {"rows": "sum(pointsman_ledger_waiting)"}),
    Panel("Turned away under load", "short", {"since the start": "sum(pointsman_shed)"}),
    Panel(
        "What callers said of answers",
        "short",
        {"{{tier}}, {{value}}": "sum by (tier, value) (pointsman_feedback_total)"},
    ),
)

CLASSIFIER = (
    Panel(
        "Prompts a second",
        "reqps",
        {"now": f"sum(rate(classifier_decisions_total[{RATE}]))"},
        kind="stat",
    ),
    Panel(
        "Share sent to the strong tier",
        "percentunit",
        {"now": share('classifier_decisions_total{tier="strong"}', "classifier_decisions_total")},
        kind="stat",
    ),
    Panel(
        "Workers by version",
        "short",
        {"{{version}}": "sum by (version) (classifier_model_workers)"},
    ),
    rates("Prompts by tier", "{{tier}}", "classifier_decisions_total", "", stack=True),
    rates("Prompts by kind of work", "{{domain}}", "classifier_decisions_total", "", stack=True),
    Panel(
        "Unlike all that was learnt",
        "percentunit",
        {
            "share": f"sum(rate(classifier_out_of_distribution_total[{RATE}]))"
            f" / sum(rate(classifier_decisions_total[{RATE}]))"
        },
    ),
    times("Time to score a prompt", "classifier_scoring_seconds", 0.5, 0.99, picked=""),
    rates(
        "Answers by path and status",
        "{{path}} {{status}}",
        "classifier_requests_total",
        "",
        unit="reqps",
    ),
    Panel(
        "Artefacts taken and refused",
        "short",
        {"refused now, {{role}}": "max by (role) (classifier_model_refused)"},
    ),
)


def drawn(number: int, panel: Panel) -> dict[str, Any]:
    """One panel as Grafana's JSON."""
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 15, "showPoints": "never"}
        if panel.stack:
            custom["stacking"] = {"mode": "normal"}
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}},
        "options": {"tooltip": {"mode": "multi"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query, "legendFormat": name, "datasource": SOURCE}
            for at, (name, query) in enumerate(panel.queries.items())
        ],
    }


def variable(name: str) -> dict[str, Any]:
    """A choice of one label's values, all at first."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values(pointsman_requests_total, {name})",
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard(uid: str, title: str, panels: tuple[Panel, ...], choices: list[str]) -> Any:
    """A whole dashboard."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["pointsman"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *map(variable, choices)]},
        "panels": [drawn(number, panel) for number, panel in enumerate(panels)],
    }


def files() -> dict[str, str]:
    """Name of a file -> its text."""
    found = {
        "gateway.json": dashboard("pointsman", "Pointsman", GATEWAY, ["route", "provider"]),
        "classifier.json": dashboard("pointsman-classifier", "Classifier", CLASSIFIER, []),
    }
    return {name: json.dumps(body, indent=1) + "\n" for name, body in found.items()}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
