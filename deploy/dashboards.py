"""`python -m deploy.dashboards`: writes deploy/grafana/dashboards/*.json from the rows below.

A panel is a title, a unit and its queries; where it stands follows from its place in the list. A
test runs every query against a real Prometheus that scrapes real services.
"""

import json
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


def per_second(metric: str, by: str, picked: str = PICKED) -> str:
    chosen = f"{{{picked}}}" if picked else ""
    return f"sum by ({by}) (rate({metric}{chosen}[{RATE}]))"


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
            "now": f'(sum(rate(pointsman_requests_total{{{PICKED},outcome="failed"}}[{RATE}]))'
            " or vector(0))"
            f' / sum(rate(pointsman_requests_total{{{PICKED},outcome=~"finished|failed"}}[{RATE}]))'
        },
        kind="stat",
    ),
    Panel("In flight", "short", {"now": "sum(pointsman_in_flight)"}, kind="stat"),
    Panel(
        "Requests by how they ended",
        "reqps",
        {"{{outcome}}": per_second("pointsman_requests_total", "outcome")},
        stack=True,
    ),
    Panel(
        "Time to the first token",
        "s",
        {
            "p50": quantile(0.5, "pointsman_first_token_seconds"),
            "p95": quantile(0.95, "pointsman_first_token_seconds"),
            "p99": quantile(0.99, "pointsman_first_token_seconds"),
        },
    ),
    Panel(
        "Time of a whole answer",
        "s",
        {
            "p50": quantile(0.5, "pointsman_request_seconds"),
            "p95": quantile(0.95, "pointsman_request_seconds"),
            "p99": quantile(0.99, "pointsman_request_seconds"),
        },
    ),
    Panel(
        "Requests by target",
        "reqps",
        {"{{provider}}/{{model}}": per_second("pointsman_requests_total", "provider, model")},
        stack=True,
    ),
    Panel(
        "First token by provider, p95",
        "s",
        {"{{provider}}": quantile(0.95, "pointsman_first_token_seconds", "provider")},
    ),
    Panel(
        "Attempts that failed, by kind",
        "ops",
        {
            "{{provider}} {{outcome}}": per_second(
                "pointsman_attempts_total",
                "provider, outcome",
                'provider=~"$provider",outcome!~"finished|cancelled"',
            )
        },
    ),
    Panel(
        "Fallbacks, by whom was left",
        "ops",
        {"{{provider}}/{{model}}": per_second("pointsman_fallbacks_total", "provider, model")},
    ),
    Panel(
        "Errors that callers saw, by kind",
        "ops",
        {"{{kind}} at {{door}}": per_second("pointsman_errors_total", "kind, door")},
    ),
    Panel(
        "Tokens a second",
        "short",
        {"{{provider}} {{direction}}": per_second("pointsman_tokens_total", "provider, direction")},
        stack=True,
    ),
    Panel(
        "Tiers chosen",
        "ops",
        {"{{tier}}, {{source}}": per_second("pointsman_decisions_total", "tier, source", "")},
        stack=True,
    ),
    Panel(
        "Routed without the classifier",
        "percentunit",
        {
            "share": f'(sum(rate(pointsman_decisions_total{{source="failure"}}[{RATE}]))'
            f" or vector(0)) / sum(rate(pointsman_decisions_total[{RATE}]))"
        },
    ),
    Panel(
        "Classifier, as the gateway sees it",
        "s",
        {
            "p50": quantile(0.5, "pointsman_classifier_seconds", picked=""),
            "p99": quantile(0.99, "pointsman_classifier_seconds", picked=""),
        },
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
    Panel(
        "Jobs by how they ended",
        "ops",
        {"{{status}}": per_second("pointsman_jobs_total", "status", "")},
        stack=True,
    ),
    Panel(
        "Rows of the ledger",
        "ops",
        {"{{outcome}}": per_second("pointsman_ledger_rows_total", "outcome", "")},
    ),
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
        {
            "now": f'(sum(rate(classifier_decisions_total{{tier="strong"}}[{RATE}]))'
            f" or vector(0)) / sum(rate(classifier_decisions_total[{RATE}]))"
        },
        kind="stat",
    ),
    Panel(
        "Workers by version",
        "short",
        {"{{version}}": "sum by (version) (classifier_model_workers)"},
    ),
    Panel(
        "Prompts by tier",
        "ops",
        {"{{tier}}": per_second("classifier_decisions_total", "tier", "")},
        stack=True,
    ),
    Panel(
        "Prompts by kind of work",
        "ops",
        {"{{domain}}": per_second("classifier_decisions_total", "domain", "")},
        stack=True,
    ),
    Panel(
        "Unlike all that was learnt",
        "percentunit",
        {
            "share": f"sum(rate(classifier_out_of_distribution_total[{RATE}]))"
            f" / sum(rate(classifier_decisions_total[{RATE}]))"
        },
    ),
    Panel(
        "Time to score a prompt",
        "s",
        {
            "p50": quantile(0.5, "classifier_scoring_seconds", picked=""),
            "p99": quantile(0.99, "classifier_scoring_seconds", picked=""),
        },
    ),
    Panel(
        "Answers by path and status",
        "reqps",
        {"{{path}} {{status}}": per_second("classifier_requests_total", "path, status", "")},
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
