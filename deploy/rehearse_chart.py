"""`python -m deploy.rehearse_chart`: the Helm chart on a real cluster, the one that kubectl means.

In a namespace of its own, which it makes and deletes: Redis, PostgreSQL and the embedded model
(deploy/standins/chart), then the chart as deploy/standins/chart/values.yaml sets it. Looks whether
everything is admitted and becomes ready, asks the main job through the Service, looks at the pods'
rights, at one limit over two gateways, at the autoscaler and at the budget for disruptions,
upgrades while streams run, ends a part at a time and waits until it is back, and looks what an
uninstalled chart leaves. Exit code 1 when something was not as it should be.

Needs kubectl, helm, and nodes that have or can pull the images pointsman/gateway, classifier and
local, redis and postgres. What nobody there can do is left out, in words.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "helm" / "pointsman"
PARTS = ROOT / "deploy" / "standins" / "chart"
NAMESPACE = "pointsman-rehearsal"
RELEASE = "pointsman"
GATEWAY, CLASSIFIER = f"{RELEASE}-gateway", f"{RELEASE}-classifier"
PATIENCE_S = 300.0
STREAMS_S = 60.0
ASKER = ("kubectl", "--namespace", NAMESPACE, "exec", "asker", "--", "python", "/asker/asker.py")
LIMIT = 6
"""Requests a minute that the code `few` may make, as values.yaml says."""


class RehearsalError(Exception):
    """Something is not as it should be; the text says what."""


def said(*command: str, given: str | None = None, code: int | None = 0) -> str:
    done = subprocess.run(list(command), input=given, capture_output=True, text=True, check=False)
    if code is not None and done.returncode != code:
        shown = " ".join(command)[:300]
        raise RehearsalError(f"{shown}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout + (done.stderr if code is None else "")


def kubectl(*words: str, given: str | None = None, code: int | None = 0) -> str:
    return said("kubectl", "--namespace", NAMESPACE, *words, given=given, code=code)


def found(*words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(kubectl("get", *words, "--output=json"))
    return told


def until(what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + patience_s:
            state = kubectl("get", "pods,events", "--output=wide", code=None)
            raise RehearsalError(f"{what}: not within {patience_s:.0f} s\n{state[-3000:]}")
        time.sleep(0.5)
    return time.monotonic() - began


def rolled_out(name: str) -> None:
    kubectl("rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE_S:.0f}s")


def pods(component: str) -> list[dict[str, Any]]:
    """Those of a part that are not about to go."""
    rows = found("pods", f"--selector=app.kubernetes.io/component={component}")["items"]
    return [row for row in rows if "deletionTimestamp" not in row["metadata"]]


def names(component: str) -> list[str]:
    return sorted(row["metadata"]["name"] for row in pods(component))


def helm(verb: str, *words: str) -> str:
    return said("helm", verb, RELEASE, "--namespace", NAMESPACE, *words)


def asked(*words: str) -> dict[str, Any]:
    """What asker.py said, which runs in a pod of its own, beside the gateways."""
    shown: dict[str, Any] = json.loads(said(*ASKER, GATEWAY, *words).splitlines()[-1])
    return shown


# -- what is looked at --------------------------------------------------------------------------


def installed(values: list[str]) -> None:
    """The chart twice: first with secrets of its own making, which an upgrade must keep."""
    helm("install", str(CHART), "--set", "existingSecret=", *values)
    first = found("secret", GATEWAY)["data"]
    helm("upgrade", str(CHART), "--set", "existingSecret=", *values)
    if found("secret", GATEWAY)["data"] != first:
        raise RehearsalError("an upgrade made other secrets")
    print(f"an upgrade keeps the chart's own secrets: {', '.join(sorted(first))}")
    helm("upgrade", str(CHART), *values)
    for name in (CLASSIFIER, GATEWAY):
        rolled_out(name)
    for name, component in ((GATEWAY, "gateway"), (CLASSIFIER, "classifier")):
        # A new Deployment has one pod until its autoscaler has looked at it.
        until(f"the autoscaler asks for two of {name}", lambda c=component: len(names(c)) >= 2)  # type: ignore[misc]
        rolled_out(name)
    print(f"ready: {', '.join(names('gateway') + names('classifier'))}")


def answered() -> None:
    told = asked("one")
    print(f"{told['target']} answered: {told['message']!r}")
    print(f"  {told['reason']}")
    if told["score"] is None:
        raise RehearsalError("the classifier was not heard")
    if (status := asked("one", "nobody-s-code")["status"]) != 401:
        raise RehearsalError(f"a caller with a wrong code gets {status}")


def as_noted() -> None:
    """What `helm install` says to do: a way in, the code, and a question."""
    notes = said("helm", "get", "notes", RELEASE, "--namespace", NAMESPACE)
    forward, code, curl = (line.strip() for line in notes.splitlines() if line.startswith("  "))
    way = subprocess.Popen(forward.split(), stdout=subprocess.PIPE, text=True)
    try:
        assert way.stdout is not None
        way.stdout.readline()
        told = said("bash", "-c", f"{code}; {curl}")
    finally:
        way.terminate()
        way.communicate()
    last = json.loads(told.strip().rpartition("data: ")[2])
    if not last.get("done") or last["route"]["score"] is None:
        raise RehearsalError(f"what the notes say gives {told[-500:]}")
    print(f"as the notes say: {told.count('data: ')} events, the last of {last['route']['target']}")


def one_limit() -> None:
    """Each gateway is asked in turn; only so many answers in the minute."""
    addresses = [row["status"]["podIP"] for row in pods("gateway")]
    told = asked("limited", str(3 * LIMIT), *addresses)
    if told != {"200": LIMIT, "429": 2 * LIMIT}:
        raise RehearsalError(f"{LIMIT} a minute over {len(addresses)} gateways gave {told}")
    print(f"{LIMIT} a minute hold over {len(addresses)} gateways: {told}")


def confined() -> None:
    for component in ("gateway", "classifier"):
        for name in names(component):
            script = "id -u; touch /written 2>&1; cat /proc/1/status"
            said_there = kubectl("exec", name, "--", "sh", "-c", script)
            facts = {
                "user 10001": said_there.startswith("10001\n"),
                "unable to write": "Read-only file system" in said_there,
                "without new privileges": "NoNewPrivs:\t1" in said_there,
                "without capabilities": "CapEff:\t0000000000000000" in said_there,
                "under a seccomp filter": "Seccomp:\t2" in said_there,
            }
            if wrong := [what for what, holds in facts.items() if not holds]:
                raise RehearsalError(f"{name} is not: {', '.join(wrong)}")
    code = base64.b64decode(found("secret", "keys")["data"]["APP_CODE"]).decode()
    shown = kubectl("get", "deployments,pods,configmaps,events", "--output=json")
    shown += "".join(kubectl("logs", name) for name in names("gateway"))
    if code in shown:
        raise RehearsalError("a secret shows")
    print("confined, and no secret shows in an object, an event or a log")


def measured() -> None:
    """The autoscalers know the CPU of their pods."""

    def knows(name: str) -> bool:
        status = found("hpa", name)["status"]
        seen = [one["resource"] for one in status.get("currentMetrics") or [] if "resource" in one]
        return any(one["current"].get("averageUtilization") is not None for one in seen)

    if "v1beta1.metrics.k8s.io" not in said("kubectl", "get", "apiservices", code=None):
        print("LEFT OUT: nobody measures pods here (metrics-server)")
        return
    for name in (GATEWAY, CLASSIFIER):
        until(f"{name}'s autoscaler sees its CPU", lambda name=name: knows(name))  # type: ignore[misc]
    print(kubectl("get", "hpa").rstrip())


def grown() -> None:
    """Under load the autoscaler adds a gateway."""
    before = len(names("gateway"))
    asker = subprocess.Popen([*ASKER, GATEWAY, "load", "120"], stdout=subprocess.DEVNULL)
    try:
        took = until("the autoscaler adds a gateway", lambda: len(names("gateway")) > before)
    finally:
        asker.terminate()
        asker.wait()
    print(f"under load a gateway more after {took:.0f} s")
    rolled_out(GATEWAY)


def budgeted() -> None:
    """Of two one may be moved to another node, and not the second with it."""
    kubectl("scale", f"deployment/{CLASSIFIER}", "--replicas=2")
    rolled_out(CLASSIFIER)
    first, second, *_ = names("classifier")
    refused = [_evict(first), _evict(second)]
    if refused[0] or "disruption budget" not in refused[1]:
        raise RehearsalError(f"two evictions at once gave {refused}")
    print(f"an eviction is allowed, a second one not: {refused[1].strip()[-120:]}")
    rolled_out(CLASSIFIER)


def _evict(name: str) -> str:
    """Nothing, or why not."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    told = kubectl("create", "--raw", path, "--filename=-", given=json.dumps(body), code=None)
    return "" if '"Success"' in told else told


def upgraded(values: list[str]) -> None:
    """Every pod is replaced while streams run, and no stream is broken."""
    before = {*names("gateway"), *names("classifier")}
    command = [*ASKER, GATEWAY, "streams", str(STREAMS_S)]
    asker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(5)
    again = [f"{part}.podAnnotations.upgrade=second" for part in ("gateway", "classifier")]
    helm("upgrade", str(CHART), *values, "--set", ",".join(again))
    for name in (CLASSIFIER, GATEWAY):
        rolled_out(name)
    after = {*names("gateway"), *names("classifier")}
    if before & after:
        raise RehearsalError(f"{before & after} were not replaced")
    told = json.loads(asker.communicate(timeout=PATIENCE_S)[0].splitlines()[-1])
    print(f"{len(before)} pods replaced by {len(after)} meanwhile; streams: {told}")
    if told["whole"] < 10 or set(told) - {"whole"}:
        raise RehearsalError(f"streams across an upgrade: {told}")


def reloaded(values: list[str]) -> None:
    """A changed gateway.toml and a changed secret are taken up by the pods that run."""
    before = names("gateway")
    key = secrets.token_urlsafe(24)
    encoded = base64.b64encode(key.encode()).decode()
    kubectl("patch", "secret", "keys", "--patch", json.dumps({"data": {"APP_CODE": encoded}}))
    took = until("a changed secret is in use", lambda: asked("one", key)["status"] == 200)
    if names("gateway") != before:
        raise RehearsalError("the gateways were replaced for a changed secret")
    # The asker's own file may be behind.
    until("the asker has it, too", lambda: asked("one")["status"] == 200)
    print(f"a changed app code is in use after {took:.0f} s, by the same pods")


def killed() -> None:
    """The first process of one pod of each part: started again, and asked through meanwhile."""
    for selector in (
        *("app.kubernetes.io/component=classifier", "app.kubernetes.io/component=gateway"),
        *("app=redis", "app=postgres"),
    ):
        (row, *_) = found("pods", f"--selector={selector}")["items"]
        name = row["metadata"]["name"]
        restarts = _restarts(name)
        # All of them know it as "at once".
        kubectl("exec", name, "--", "sh", "-c", "kill -INT 1", code=None)
        took = until(
            f"{name} is started again",
            lambda n=name, r=restarts: _restarts(n) > r,  # type: ignore[misc]
        )
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
        took += until(f"asked after {name} was ended", lambda: asked("one")["status"] == 200)
        print(f"{name} was ended, started again, and asked through after {took:.0f} s")


def _restarts(name: str) -> int:
    (status,) = found("pod", name)["status"]["containerStatuses"]
    return int(status["restartCount"])


def hidden() -> None:
    """Only gateways reach the classifier, where the network plugin knows NetworkPolicy."""
    told = kubectl(
        *("exec", "asker", "--", "python", "-c"),
        "import socket; socket.create_connection(('" + CLASSIFIER + "', 8000), 5)",
        code=None,
    )
    if "Error" in told or "timed out" in told:
        print("the classifier is hidden from other pods")
    else:
        print("LEFT OUT: the network plugin here enforces no NetworkPolicy")


def uninstalled() -> None:
    helm("uninstall", "--wait")
    left = kubectl(
        *("get", "deployments,services,configmaps,hpa,pdb,networkpolicies,secrets"),
        *(f"--selector=app.kubernetes.io/instance={RELEASE}", "--output=name"),
    ).split()
    if left != [f"secret/{GATEWAY}"]:
        raise RehearsalError(f"an uninstalled chart leaves {left}")
    print("uninstalled; the secret alone is kept")


# -- all of it ----------------------------------------------------------------------------------


def laid() -> None:
    """Redis, PostgreSQL, the model, the asker and the secret that the chart is given."""
    password = secrets.token_urlsafe(24)
    kubectl(
        *("create", "secret", "generic", "keys"),
        *(
            f"--from-literal={name}={value}"
            for name, value in {
                "APP_CODE": secrets.token_urlsafe(24),
                "FEW_CODE": secrets.token_urlsafe(24),
                "ADMIN_TOKEN": secrets.token_urlsafe(24),
                "POINTSMAN_SECRET_KEY": secrets.token_urlsafe(32),
                "POSTGRES_PASSWORD": password,
                "REDIS_URL": "redis://redis:6379/0",
                "DATABASE_URL": f"postgresql://pointsman:{password}@postgres:5432/pointsman",
            }.items()
        ),
    )
    kubectl("create", "configmap", "asker", f"--from-file={PARTS / 'asker.py'}")
    kubectl("apply", f"--filename={PARTS / 'parts.yaml'}")
    for name in ("redis", "postgres", "local"):
        rolled_out(name)
    kubectl("wait", "--for=condition=Ready", "pod/asker", "--timeout=120s")
    print("Redis, PostgreSQL and the embedded model are up")


def rehearse() -> None:
    values = ["--values", str(PARTS / "values.yaml")]
    kinds = said("kubectl", "api-resources", "--output=name")
    if "servicemonitors.monitoring.coreos.com" not in kinds:
        print("LEFT OUT: ServiceMonitor and PrometheusRule (no Prometheus operator here)")
        values += ["--set", "monitoring.serviceMonitor=false,monitoring.prometheusRule=false"]
    said("kubectl", "create", "namespace", NAMESPACE)
    try:
        laid()
        installed(values)
        answered()
        as_noted()
        one_limit()
        confined()
        hidden()
        measured()
        upgraded(values)
        reloaded(values)
        killed()
        budgeted()
        grown()
        uninstalled()
    finally:
        said("kubectl", "delete", "namespace", NAMESPACE, "--wait=true", code=None)


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        rehearse()
    except RehearsalError as wrong:
        print(f"rehearsal: {wrong}", file=sys.stderr)
        return 1
    print("all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
