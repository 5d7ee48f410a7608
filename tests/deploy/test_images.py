"""Dockerfiles, Compose and the bill of materials, as far as they can be judged without a daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from deploy import sbom, secrets, subset
from deploy.composed import RehearsalError, composer
from gateway.environment import from_folder
from gateway.settings import SettingsError
from gateway.settings_file import ENVIRONMENT, load
from tests.deploy.services import ran

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"gateway", "gateway-small", "classifier", "local"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    ran(str(linter), "--failure-threshold", "info", str(path))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_are_pinned_built_from_the_lock_and_run_as_nobody(path: Path) -> None:
    text = path.read_text()
    for line in text.splitlines():
        if line.startswith("ARG ") and "IMAGE=" in line:
            _, _, tag = line.rpartition(":")
            assert tag[0].isdigit(), line
            assert "latest" not in line
    assert "--require-hashes" in text
    assert "\nUSER 10001:10001\n" in text
    assert "\nHEALTHCHECK " in text
    assert "\nFROM scratch AS sbom\n" in text
    # What is copied must get through .dockerignore.
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line}
    for line in text.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert source.rstrip("*") in let_in, source


def test_all_images_stand_on_one_python_and_name_no_folder_of_it() -> None:
    bases: set[str] = set()
    for path in (ROOT / "deploy").rglob("*.Dockerfile"):
        first = [line for line in path.read_text().splitlines() if "PYTHON_IMAGE=" in line]
        assert len(first) == 1, path
        bases.add(first[0])
        # A folder of one version would be missed by whoever gives another base.
        assert not re.search(r"python3\.\d", path.read_text()), path
    assert len(bases) == 1


def test_what_a_service_imports_is_in_its_image() -> None:
    """Each service is imported by an interpreter that sees the packages of its image only."""
    locked: dict[str, str] = {}
    for name in ("run.txt", "no-deps.txt"):
        locked |= subset.entries((ROOT / "requirements" / name).read_text())
    code = """
import sys, importlib.metadata as m
wanted, modules = set(sys.argv[1].split(",")), sys.argv[2].split(",")
tops = {}
for top, owners in m.packages_distributions().items():
    tops[top] = {owner.lower().replace("_", "-").replace(".", "-") for owner in owners}
class Gate:
    def __init__(self, inner):
        self.inner = inner
    def find_spec(self, name, path=None, target=None):
        owners = tops.get(name)
        missing = owners and not owners & wanted
        return None if missing else self.inner.find_spec(name, path, target)
finders = [one for one in sys.meta_path if getattr(one, "__name__", "") == "PathFinder"]
assert finders
sys.meta_path[:] = [Gate(one) if one in finders else one for one in sys.meta_path]
for module in modules:
    __import__(module)
"""
    for service, modules in (
        ("gateway", "gateway.serve,gateway.__main__,gateway.monitor.traces"),
        ("classifier", "classifier.app"),
    ):
        names = [
            name.replace("_", "-").replace(".", "-") for name in subset.wanted(service, locked)
        ]
        done = subprocess.run(
            [sys.executable, "-c", code, ",".join(names), modules],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{service}: {done.stderr}"


def test_every_locked_package_goes_into_some_image() -> None:
    locked: dict[str, str] = {}
    for name in ("run.txt", "no-deps.txt"):
        locked |= subset.entries((ROOT / "requirements" / name).read_text())
    chosen = {
        service: subset.wanted(service, locked) for service in ("gateway", "classifier", "local")
    }
    assert set().union(*chosen.values()) == set(locked)
    assert "numpy" not in chosen["gateway"]
    assert "xllamacpp" not in chosen["gateway"]
    assert "sqlalchemy" not in chosen["classifier"]
    assert all("--hash=sha256:" in entry for entry in locked.values())


def test_the_sets_of_the_compose_file_hold_what_they_should() -> None:
    def members(profile: str) -> set[str]:
        return {name for name, one in SERVICES.items() if profile in one["profiles"]}

    assert members("small") == {"gateway-small", "classifier", "local"}
    assert members("full") == {
        *("gateway", "classifier", "ollama", "ollama-pull", "redis", "postgres"),
        *("prometheus", "grafana"),
    }
    for profile in ("small", "full"):
        inside = members(profile) | ({"ollama", "ollama-pull"} if profile == "small" else set())
        for name in members(profile):
            assert set(SERVICES[name].get("depends_on", {})) <= inside, name


def test_compose_itself_finds_the_file_valid_and_so_with_the_stand_ins() -> None:
    try:
        command = composer()
    except RehearsalError as missing:
        pytest.skip(f"{missing} (Debian: docker-compose)")
    command += ["--file", "docker-compose.yml"]
    for over in ([], ["--file", "deploy/standins/compose.yml"]):
        for profile in ("small", "full"):
            ran(*command, *over, "--profile", profile, "config", "--quiet", cwd=ROOT)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] in ("unless-stopped", "on-failure")
    assert service["cpus"] > 0
    assert service["mem_limit"]
    _, _, tag = service["image"].rpartition(":")
    assert any(letter.isdigit() for letter in tag), "a version is named"
    if not name.startswith("ollama"):
        user = str(service["user"]).split(":")[0]
        assert user not in ("0", "root")
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    # Ours have their check in the image.
    assert "healthcheck" in service or name in OURS or name == "ollama-pull"
    for needed in service.get("depends_on", {}).values():
        assert needed["condition"] == "service_healthy"


def test_the_classifier_is_hidden_and_has_what_was_promised() -> None:
    service = SERVICES["classifier"]
    assert service["networks"] == ["inner"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert "ports" not in service
    assert (service["cpus"], service["mem_limit"]) == (2, "2g")
    assert service["environment"]["CLASSIFIER_WORKERS"] == "4"


def test_the_embedded_model_is_hidden_and_outlives_the_gateway() -> None:
    service = SERVICES["local"]
    assert service["networks"] == ["inner"]
    assert "ports" not in service
    # In the gateway's network it would be lost with it: that is a new one at each start.
    assert "network_mode" not in service
    address = SERVICES["gateway-small"]["environment"]["LOCAL_BASE_URL"]
    assert address == "http://local:8090/v1"


def test_the_gateways_variables_are_known_and_no_secret_stands_in_the_file() -> None:
    known = {*ENVIRONMENT, "SECRETS_DIR", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    known |= {"OLLAMA_BASE_URL", "LOCAL_BASE_URL"}
    for name in ("gateway", "gateway-small"):
        assert set(SERVICES[name]["environment"]) <= known
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            secret = any(word in variable for word in ("KEY", "PASSWORD", "TOKEN"))
            assert not secret or variable.endswith("_FILE"), f"{name}: {variable}"


def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert len(secrets.lay_down(folder)) == 6
    assert folder.stat().st_mode & 0o777 == 0o700
    before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert secrets.lay_down(folder) == []
    assert before == {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    password = (folder / "POSTGRES_PASSWORD").read_text().strip()
    assert password in (folder / "DATABASE_URL").read_text()
    named = {Path(one["file"]).name for one in COMPOSE["secrets"].values()}
    assert named <= {path.name for path in before}


def test_the_composed_gateway_starts_with_what_is_laid_down(tmp_path: Path) -> None:
    secrets.lay_down(tmp_path)
    variables = {"HOST": "0.0.0.0", **from_folder(tmp_path / "gateway")}
    settings = load(ROOT / "deploy" / "gateway.toml", variables)
    assert settings.codes["first"].code == variables["APP_CODE"]
    assert settings.access.admin_token == variables["ADMIN_TOKEN"]
    with pytest.raises(SettingsError, match="APP_CODE"):
        load(ROOT / "deploy" / "gateway.toml", {})


def test_the_bill_of_materials_names_what_is_installed_and_is_the_same_each_time() -> None:
    found = sbom.document("pointsman", "0.1.0", None)
    again = sbom.document("pointsman", "0.1.0", None)
    assert json.dumps(found) == json.dumps(again)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    urls = {one["purl"] for one in found["components"]}
    assert any(url.startswith("pkg:pypi/aiohttp@") for url in urls)
    assert len(urls) == len(found["components"])
