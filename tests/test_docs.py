"""What the documents say is so: every setting, route and metric is there, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from pydantic import BaseModel

from gateway.app import build_app
from gateway.monitor.metrics import Metrics
from gateway.settings import Model, Price, RequestType, Route, Settings
from gateway.settings_file import ENVIRONMENT
from gateway.terms import SeedTerms
from providers.registry import CATALOG, ROW_FIELDS

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def sections() -> dict[str, dict[str, str]]:
    """Section of the document -> setting -> its documented default."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^## ", CONFIGURATION, flags=re.M)[1:]:
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", part, flags=re.M)
        found[part.splitlines()[0].strip("[]")] = dict(rows)
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    documented = sections()
    for name, field in Settings.model_fields.items():
        if name in ("routes", "aliases", "providers", "models", "codes", "request_types"):
            continue
        model = field.annotation
        if name == "prices":
            # A table of them, as routes are.
            assert set(documented['prices."PROVIDER/MODEL"']) == set(Price.model_fields)
            continue
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        rows = documented[name]
        assert set(rows) == set(model.model_fields), name
        for setting, inner in model.model_fields.items():
            value = tomllib.loads(f"x = {rows[setting].strip('`')}")["x"]
            value = tuple(value) if isinstance(value, list) else value
            assert value == inner.default, f"{name}.{setting}"


def test_every_setting_of_a_route_and_a_provider_is_documented() -> None:
    documented = sections()
    assert set(documented["routes.NAME"]) == set(Route.model_fields)
    assert set(documented["providers.NAME"]) == ROW_FIELDS
    words = {field.alias or name for name, field in Model.model_fields.items()}
    assert set(documented['models."provider/model"']) == words
    assert set(documented["codes.NAME"]) == set(SeedTerms.model_fields)
    assert set(documented["request_types.NAME"]) == set(RequestType.model_fields)


def test_every_environment_variable_of_the_gateway_is_documented() -> None:
    for variable in ENVIRONMENT:
        assert f"`{variable}`" in CONFIGURATION


def test_every_variable_of_the_catalogue_stands_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    rows = tomllib.loads(CATALOG.read_text(encoding="utf-8")).values()
    for row in rows:
        names = [*row.get("key_env", ()), row.get("base_url_env"), row.get("default_model_env")]
        for name in names:
            assert name is None or re.search(rf"^#?{name}=", example, flags=re.M), name
    for name in ENVIRONMENT:
        assert re.search(rf"^#?{name}=", example, flags=re.M), name


def routes(app: web.Application) -> Iterator[str]:
    for route in app.router.routes():
        if route.method != "HEAD" and route.resource is not None:
            yield f"{route.method} {route.resource.canonical}"


def test_every_route_is_documented_and_no_other() -> None:
    rows = r"^\| `((?:GET|POST|PUT|PATCH|DELETE) \S+)` \|"
    documented = set(re.findall(rows, README, flags=re.M))
    assert documented == set(routes(build_app(Settings(), {})))


def test_every_metric_is_documented_and_no_other() -> None:
    metrics = Metrics(lambda provider, model: True)
    names = {family.name for family in metrics.registry.collect()}
    assert set(re.findall(r"`(pointsman_\w+)`", OPERATIONS)) == names


def test_every_link_between_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")]
    for document in documents:
        for link, heading in re.findall(
            r"\]\(([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")
        ):
            if link.startswith("http"):
                continue
            there = document.parent / link if link else document
            assert there.exists(), f"{document.name}: {link}"
            if heading:
                assert heading in headings(there), f"{document.name}: {link}#{heading}"


def headings(document: Path) -> set[str]:
    """Of a page, as a link names them: GitHub keeps letters, digits and hyphens."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
