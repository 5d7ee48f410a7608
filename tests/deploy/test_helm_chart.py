"""The Helm chart: linted and rendered by Helm itself, its objects held against Kubernetes' own
schemas, and what it promises looked up in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from helm_python import Chart

from deploy.with_go import KUBECONFORM
from gateway.settings_file import load

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "pointsman"
VERSIONS = ("1.29", "1.31", "1.34")
EVERYTHING: dict[str, Any] = {
    "existingSecret": "keys",
    "imagePullSecrets": [{"name": "pull"}],
    "gateway": {
        "env": [{"name": "DEBUG_MODE", "value": "1"}],
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "llm", "operator": "Exists"}],
        "autoscaling": {"enabled": False},
    },
    "ingress": {"enabled": True, "host": "llm.example.org", "tlsSecret": "tls"},
    "otel": {"endpoint": "http://collector:4318"},
}


def rendered(values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every object of the chart."""
    files = Chart.load(str(CHART)).render(values or {}, name="prod", namespace="llm")
    found: list[dict[str, Any]] = []
    for path, text in files.items():
        if path.endswith(".yaml"):
            found += [one for one in yaml.safe_load_all(text) if one]
    return found


def one(kind: str, name: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    (found,) = [
        each
        for each in rendered(values)
        if (each["kind"], each["metadata"]["name"]) == (kind, f"prod-pointsman{name}")
    ]
    return found


def container(name: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    spec = one("Deployment", name, values)["spec"]["template"]["spec"]
    (found,) = spec["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_finds_nothing_to_mend(values: dict[str, Any]) -> None:
    report = helm_python.lint(str(CHART), values, strict=True)
    assert not report["errors"], report
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_kubernetes_takes_every_object(values: dict[str, Any], version: str) -> None:
    objects = rendered(values)
    checked = 0
    for each in objects:
        if each["apiVersion"].startswith("monitoring.coreos.com/"):
            continue  # The operator's own kinds are looked at below.
        kubernetes_validate.validate(each, version, strict=True)
        checked += 1
    assert checked >= 12
    kinds = {each["kind"] for each in objects}
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= kinds
    assert {"HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def test_a_wrong_field_would_be_found() -> None:
    broken = one("Deployment", "-gateway")
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubernetes' schemas of each version, referring to files and to nobody's address."""
    laid = tmp_path_factory.mktemp("schemas")
    shipped = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    for version in VERSIONS:
        # Where kubeconform looks with -strict.
        folder = laid / f"v{version}.0-strict"
        folder.mkdir()
        for path in (shipped / f"v{version}.0-local-strict").iterdir():
            text = path.read_text(encoding="utf-8")
            text = text.replace("/api/_definitions.json", f"file://{folder}/_definitions.json")
            schema = json.loads(text)
            schema.pop("$id", None)
            (folder / path.name).write_text(json.dumps(schema), encoding="utf-8")
    return laid


def conformed(schemas: Path, objects: list[dict[str, Any]], version: str) -> dict[str, Any]:
    """What kubeconform says of them: `summary`, and in `resources` what it has not found valid."""
    program = KUBECONFORM.found()
    if program is None:
        pytest.skip("there is no kubeconform on the PATH and none in var: `make kubeconform`")
    told = subprocess.run(
        [
            program.resolve(),
            *("-strict", "-summary", "-output", "json", "-kubernetes-version", f"{version}.0"),
            *("-skip", "ServiceMonitor,PrometheusRule", "-schema-location"),
            f"{schemas}/{{{{.NormalizedKubernetesVersion}}}}{{{{.StrictSuffix}}}}/"
            "{{.ResourceKind}}{{.KindSuffix}}.json",
        ],
        input=yaml.safe_dump_all(objects).encode(),
        capture_output=True,
        check=False,
    )
    assert not told.stderr, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_kubeconform_finds_every_object_valid(
    schemas: Path, values: dict[str, Any], version: str
) -> None:
    objects = rendered(values)
    operators = [one for one in objects if one["apiVersion"].startswith("monitoring.coreos.com/")]
    told = conformed(schemas, objects, version)
    assert told["summary"] == {
        "valid": len(objects) - len(operators),
        "invalid": 0,
        "errors": 0,
        "skipped": len(operators),
    }


def test_kubeconform_would_find_a_wrong_field_and_a_wrong_type(schemas: Path) -> None:
    broken, bent = one("Deployment", "-gateway"), one("Deployment", "-classifier")
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    bent["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "long"
    told = conformed(schemas, [broken, bent], "1.31")
    assert told["summary"]["invalid"] == 2
    assert "readinesProbe" in json.dumps(told["resources"])
    assert "terminationGracePeriodSeconds" in json.dumps(told["resources"])


def test_wrong_values_are_refused_by_name() -> None:
    with pytest.raises(helm_python.HelmError, match="replicas"):
        Chart.load(str(CHART)).validate_schema({"gateway": {"replicas": "two"}})


@pytest.mark.parametrize("name", ["-gateway", "-classifier"])
def test_pods_have_no_rights_and_no_way_to_write(name: str) -> None:
    pod = one("Deployment", name)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    # Else a Service of the namespace would be variables: LOCAL_PORT=tcp://... of one named local.
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    box = container(name)
    assert box["securityContext"]["readOnlyRootFilesystem"] is True
    assert box["securityContext"]["allowPrivilegeEscalation"] is False
    assert box["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= set(box["resources"])
    assert not box["image"].endswith(":latest")


def test_the_classifier_has_two_cores_two_gigabytes_and_four_workers() -> None:
    box = container("-classifier")
    assert box["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    assert {"name": "CLASSIFIER_WORKERS", "value": "4"} in box["env"]


def test_a_pod_that_goes_has_time_for_its_streams() -> None:
    values = {"gateway": {"preStopSeconds": 7, "drainSeconds": 100}}
    pod = one("Deployment", "-gateway", values)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 122
    stop = pod["containers"][0]["lifecycle"]["preStop"]
    assert stop == {"exec": {"command": ["sleep", "7"]}}
    strategy = one("Deployment", "-gateway")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_autoscaler_looks_at_cpu_and_at_requests_in_flight() -> None:
    scaler = one("HorizontalPodAutoscaler", "-gateway")["spec"]
    cpu, in_flight = scaler["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    assert in_flight["pods"]["metric"]["name"] == "pointsman_in_flight"
    assert "replicas" not in one("Deployment", "-gateway")["spec"]
    assert len(one("HorizontalPodAutoscaler", "-classifier")["spec"]["metrics"]) == 1
    fixed = one("Deployment", "-gateway", EVERYTHING)
    assert fixed["spec"]["replicas"] == 2


@pytest.mark.parametrize("part", ["-gateway", "-classifier"])
def test_the_autoscaler_and_the_disruption_budget_mean_pods_that_are_there(part: str) -> None:
    deployment = one("Deployment", part)
    scaler = one("HorizontalPodAutoscaler", part)["spec"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    # One may go, and one stays: less than two at rest would hold every drain of a node up.
    budget = one("PodDisruptionBudget", part)["spec"]
    assert budget["minAvailable"] == 1 < scaler["minReplicas"] <= scaler["maxReplicas"]
    assert budget["selector"] == deployment["spec"]["selector"]
    # Streams are drained when a pod goes, so pods go slowly.
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 60


def test_prometheus_adapter_gives_the_metric_that_the_autoscaler_asks_for() -> None:
    adapter = yaml.safe_load((CHART.parents[1] / "prometheus" / "adapter.yml").read_text())
    (rule,) = adapter["rules"]["custom"]
    _, in_flight = one("HorizontalPodAutoscaler", "-gateway")["spec"]["metrics"]
    assert rule["name"]["matches"] == in_flight["pods"]["metric"]["name"]
    assert rule["seriesQuery"].startswith(in_flight["pods"]["metric"]["name"] + "{")


def test_only_gateways_and_the_monitoring_reach_the_classifier() -> None:
    policy = one("NetworkPolicy", "-classifier")["spec"]
    selector = one("Deployment", "-classifier")["spec"]["selector"]
    assert policy["podSelector"] == selector
    (rule,) = policy["ingress"]
    gateways, monitoring = rule["from"]
    assert gateways == {"podSelector": one("Deployment", "-gateway")["spec"]["selector"]}
    assert monitoring["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "monitoring"
    }
    assert policy["egress"] == []
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_services_pods_and_monitors_find_each_other() -> None:
    for part, job in (("-gateway", "pointsman"), ("-classifier", "pointsman-classifier")):
        labels = one("Deployment", part)["spec"]["template"]["metadata"]["labels"].items()
        assert one("Deployment", part)["spec"]["selector"]["matchLabels"].items() <= labels
        assert one("Service", part)["spec"]["selector"].items() <= labels
        monitor = one("ServiceMonitor", part)["spec"]
        found = one("Service", part)["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= found.items()
        assert found[monitor["jobLabel"]] == job
        ports = {port["name"] for port in one("Service", part)["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
    (port,) = one("Service", "-classifier")["spec"]["ports"]
    address = f"http://prod-pointsman-classifier:{port['port']}"
    assert {"name": "CLASSIFIER_URL", "value": address} in container("-gateway")["env"]


def test_a_monitor_shows_the_token_that_metrics_ask_for() -> None:
    given = {"existingSecret": "keys", "monitoring": {"withToken": True}}
    (endpoint,) = one("ServiceMonitor", "-gateway", given)["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "keys", "key": "METRICS_TOKEN"}
    (other,) = one("ServiceMonitor", "-classifier", given)["spec"]["endpoints"]
    assert "authorization" not in other
    with pytest.raises(helm_python.HelmError, match="METRICS_TOKEN"):
        rendered({"monitoring": {"withToken": True}})


def test_the_rules_of_the_cluster_are_those_that_are_tested() -> None:
    rules = CHART.parents[1] / "prometheus" / "rules" / "pointsman.yml"
    assert one("PrometheusRule", "")["spec"] == yaml.safe_load(rules.read_text())
    boards = one("ConfigMap", "-dashboards")["data"]
    folder = CHART.parents[1] / "grafana" / "dashboards"
    for name in ("gateway", "classifier"):
        assert (
            boards[f"pointsman-{name}.json"].strip()
            == (folder / f"{name}.json").read_text().strip()
        )


def test_the_gateway_takes_the_settings_and_the_secrets_of_the_chart(tmp_path: Path) -> None:
    written = tmp_path / "gateway.toml"
    written.write_text(one("ConfigMap", "-gateway")["data"]["gateway.toml"])
    settings = load(written, {"HOST": "0.0.0.0", "APP_CODE": "a-code-of-some-length"})
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert settings.server.drain_s == values["gateway"]["drainSeconds"]

    box = container("-gateway", EVERYTHING)
    variables = {each["name"]: each["value"] for each in box["env"]}
    mounts = {each["name"]: each for each in box["volumeMounts"]}
    assert variables["SECRETS_DIR"] == mounts["secrets"]["mountPath"]
    assert mounts["secrets"]["readOnly"] is True
    assert box["args"][:2] == ["--config", mounts["config"]["mountPath"] + "/gateway.toml"]
    pod = one("Deployment", "-gateway", EVERYTHING)["spec"]["template"]["spec"]
    named = {each["name"]: each for each in pod["volumes"]}
    assert named["secrets"]["secret"]["secretName"] == "keys"


def test_without_a_secret_the_chart_makes_one_that_nobody_can_guess() -> None:
    made, again = one("Secret", "-gateway"), one("Secret", "-gateway")
    assert set(made["data"]) == {"APP_CODE", "ADMIN_TOKEN", "POINTSMAN_SECRET_KEY"}
    assert made["data"] != again["data"]
    assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    pod = one("Deployment", "-gateway")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
    assert volume["secret"]["secretName"] == made["metadata"]["name"]
    assert "Secret" not in {each["kind"] for each in rendered(EVERYTHING)}


def test_probes_ask_routes_that_are_there() -> None:
    from aiohttp import web

    from gateway.app import build_app
    from gateway.settings import Settings

    app: web.Application = build_app(Settings(), {})
    paths = {route.resource.canonical for route in app.router.routes() if route.resource}
    box = container("-gateway")
    asked = {
        box[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert asked <= paths
    assert box["livenessProbe"]["httpGet"]["path"] != box["readinessProbe"]["httpGet"]["path"]


def test_what_rehearses_the_chart_fits_it(tmp_path: Path) -> None:
    parts = CHART.parents[1] / "standins" / "chart"
    values = yaml.safe_load((parts / "values.yaml").read_text())
    Chart.load(str(CHART)).validate_schema(values)
    written = tmp_path / "gateway.toml"
    written.write_text(one("ConfigMap", "-gateway", values)["data"]["gateway.toml"])
    codes = {"APP_CODE": "a-code-of-some-length", "FEW_CODE": "another-of-some-length"}
    settings = load(written, {"HOST": "0.0.0.0", **codes})
    chart = yaml.safe_load((CHART / "values.yaml").read_text())
    assert settings.server.drain_s == chart["gateway"]["drainSeconds"]

    compose = yaml.safe_load((CHART.parents[2] / "docker-compose.yml").read_text())["services"]
    for each in yaml.safe_load_all((parts / "parts.yaml").read_text()):
        kubernetes_validate.validate(each, "1.34", strict=True)
        pod = each["spec"].get("template", each)["spec"]
        for box in pod.get("containers", ()):
            assert box["image"] in {service["image"] for service in compose.values()}
            assert pod["enableServiceLinks"] is False
