"""`python -m deploy.rehearse [--full] [--no-build] [--stand-ins]`: docker-compose.yml, for real.

Builds the images, brings the small set (or the full one) up under a project name and on ports of
its own, asks the main job, looks whether the order was kept, the containers are as confined as they
should be and no secret shows, kills each service and waits until it is back, and takes all of it
down again, volumes too. Exit code 1 when something was not as it should be.

Where no registry can be reached `--stand-ins` builds images of the same names from Debian's
packages (deploy/standins), makes `llama3.2` from the embedded model's weights instead of pulling
it, and leaves Grafana out, of which Debian has none. Needs a Docker daemon.
"""

import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.composed import PATIENCE_S, PROJECT, ROOT, RehearsalError, Set, docker
from deploy.secrets import lay_down
from deploy.with_go import OLLAMA
from local.weights import choose

STANDINS = ROOT / "deploy" / "standins"
SCRATCH = ROOT / "var" / "rehearsal"
SECRETS = ROOT / "var" / "secrets"
GATEWAY = {"small": "gateway-small", "full": "gateway"}
ONCE = {"ollama-pull"}
"""Services that end when they have done their work."""


def ask(port: int, code: str | None, **more: object) -> tuple[int, dict[str, Any]]:
    """The main job; status, and the body of a whole answer."""
    body = {"message": "Name three colours.", "stream": False, **more}
    headers = {"Authorization": f"Bearer {code}"} if code else {}
    return got(f"http://127.0.0.1:{port}/complete", json.dumps(body).encode(), headers)


def got(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    # An address of this machine that was made here.
    asked = urllib.request.Request(  # noqa: S310
        url, data=body, headers={"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}
    except OSError:
        return 0, {}


def until_answered(port: int, code: str, **more: object) -> dict[str, Any]:
    """The answer, once there is one: a model is loaded after the gateway is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status, body = ask(port, code, **more)
        if status == 200:
            return body
        if time.monotonic() > deadline:
            raise RehearsalError(f"POST /complete still gives {status} after {PATIENCE_S:.0f} s")
        time.sleep(1)


def provide(running: Set, stand_ins: bool) -> set[str]:
    """Pulls or builds the images that are not ours; the services whose images cannot be had."""
    lacking = set()
    context = _context() if stand_ins else None
    for name, service in running.services.items():
        image = service["image"]
        if "build" in service or docker("images", "--quiet", image).strip():
            continue
        recipe = STANDINS / f"{image.partition(':')[0].rpartition('/')[2]}.Dockerfile"
        if context is not None and recipe.is_file():
            if recipe.stem == "ollama" and not (context / "ollama").is_file():
                raise RehearsalError("there is no Ollama to stand in for its image: make ollama")
            print(f"building a stand-in for {image}")
            docker("build", "--quiet", "--file", str(recipe), "--tag", image, str(context))
        elif stand_ins:
            print(f"LEFT OUT: {name}: {image} cannot be had here")
            lacking.add(name)
        else:
            docker("pull", "--quiet", image)
    return lacking


def _context() -> Path:
    """What the stand-ins are made of, beside Debian's packages: an Ollama that was built here,
    and the embedded model's weights, which `ollama create` reads."""
    weights = SCRATCH / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for path in STANDINS.iterdir():
        shutil.copy(path, SCRATCH / path.name)
    shutil.copy(STANDINS / "Modelfile", weights)
    shutil.copyfile(choose(None).path, weights / "model.gguf")
    ollama = OLLAMA.found()
    if ollama is not None:
        shutil.copy(ollama, SCRATCH / "ollama")
    return SCRATCH


def look(running: Set, service: str) -> None:
    """Raise RehearsalError for a container with more rights than it should have."""
    found = running.container(service)
    host, config = found["HostConfig"], found["Config"]
    facts = {
        "read-only": host["ReadonlyRootfs"] is True,
        "without rights": host["CapDrop"] == ["ALL"],
        # Ollama's image has no other user.
        "not root": config["User"].split(":")[0] not in ("", "0", "root")
        or service.startswith("ollama"),
        "limited in memory": host["Memory"] > 0,
        "limited in cores": host["NanoCpus"] > 0,
    }
    if service not in ONCE:
        said = running.run(service, "sh", "-c", "touch /written 2>&1; cat /proc/1/status", code=0)
        facts["unable to write"] = "Read-only file system" in said
        facts["without new privileges"] = "NoNewPrivs:\t1" in said
        facts["without capabilities"] = "CapEff:\t0000000000000000" in said
    if wrong := [what for what, holds in facts.items() if not holds]:
        raise RehearsalError(f"{service} is not: {', '.join(wrong)}")
    ports = found["NetworkSettings"]["Ports"] or {}
    published = [one for rows in ports.values() for one in rows or ()]
    if published and "ports" not in running.services[service]:
        raise RehearsalError(f"{service} is published: {published}")
    if any(one["HostIp"] != "127.0.0.1" for one in published):
        raise RehearsalError(f"{service} is published beyond this machine: {published}")
    shown = json.dumps(found)
    for path in SECRETS.rglob("*"):
        if path.is_file() and path.read_text().strip() in shown:
            raise RehearsalError(f"docker inspect {service} shows {path.name}")


def in_order(running: Set, since: float) -> None:
    """Raise RehearsalError where a service was started before one that it needs was healthy."""
    began: dict[str, int] = {}
    healthy: dict[str, int] = {}
    for event in events(since):
        service = event["Actor"]["Attributes"].get("com.docker.compose.service", "")
        if event["Action"] == "start":
            began.setdefault(service, event["timeNano"])
        elif event["Action"] == "health_status: healthy":
            healthy.setdefault(service, event["timeNano"])
    for name in began:
        for needed in running.services[name].get("depends_on", {}):
            if healthy.get(needed, sys.maxsize) > began[name]:
                raise RehearsalError(f"{name} was started before {needed} was healthy")


def events(since: float) -> Iterator[dict[str, Any]]:
    told = docker(
        *("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}"),
        *("--filter", f"label=com.docker.compose.project={PROJECT}"),
        *("--filter", "type=container", "--format", "{{json .}}"),
    )
    for line in told.splitlines():
        yield json.loads(line)


def killed(running: Set, service: str) -> None:
    """All its processes are killed; raise RehearsalError unless Docker starts it again."""
    state = running.container(service)["State"]
    # From within: a `docker kill` is a wish of ours, after which nothing is started again.
    running.run(service, "sh", "-c", "kill -9 -1", code=None)
    deadline = time.monotonic() + PATIENCE_S
    while running.container(service)["State"]["StartedAt"] == state["StartedAt"]:
        if time.monotonic() > deadline:
            raise RehearsalError(f"{service} was killed and not started again")
        time.sleep(0.5)
    running.wait_for(service, "healthy")


def scraped(running: Set) -> None:
    """Raise RehearsalError unless Prometheus gets both services' metrics and has our rules."""
    base = f"http://127.0.0.1:{running.ports['PROMETHEUS_PORT']}/api/v1"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        _, told = got(f"{base}/query?query=up%20%3D%3D%201")
        jobs = {row["metric"]["job"] for row in told.get("data", {}).get("result", [])}
        if jobs == {"pointsman", "pointsman-classifier"}:
            break
        if time.monotonic() > deadline:
            raise RehearsalError(f"Prometheus scrapes {jobs or 'nobody'}")
        time.sleep(1)
    _, told = got(f"{base}/rules")
    rules = [rule for group in told["data"]["groups"] for rule in group["rules"]]
    if not rules or any(rule.get("lastError") for rule in rules):
        raise RehearsalError(f"Prometheus has {len(rules)} rules, not all of them good")
    print(f"Prometheus scrapes {len(jobs)} jobs and evaluates {len(rules)} rules")


def spent(running: Set) -> int:
    """Requests that the ledger has."""
    token = (SECRETS / "gateway" / "ADMIN_TOKEN").read_text().strip()
    url = f"http://127.0.0.1:{running.port}/usage"
    status, told = got(url, headers={"Authorization": f"Bearer {token}"})
    if status != 200:
        raise RehearsalError(f"GET /usage gives {status}")
    return int(told["total"]["requests"])


def through(running: Set, profile: str, code: str) -> None:
    """The main job, as a caller sees it."""
    answer = until_answered(running.port, code)
    route = answer["route"]
    print(f"{route['target']} answered: {answer['message']!r}")
    print(f"  {route['reason']}")
    if route["score"] is None:
        raise RehearsalError("the classifier was not heard")
    if profile == "full":
        named = until_answered(running.port, code, model="ollama/llama3.2")
        print(f"ollama/llama3.2, by name: {named['message'][:60]!r}")
    if ask(running.port, None)[0] != 401:
        raise RehearsalError("a caller without a code came in")


def rehearse(profile: str, build: bool, stand_ins: bool) -> None:
    """Raise RehearsalError at the first thing that is wrong; nothing is left running."""
    lay_down(SECRETS)
    code = (SECRETS / "gateway" / "APP_CODE").read_text().strip()
    running = Set(profile, (STANDINS / "compose.yml",) if stand_ins else ())
    gateway = GATEWAY[profile]
    try:
        lacking = provide(running, stand_ins)
        services = sorted(set(running.services) - lacking)
        if build:
            print("building")
            running.compose("build", *(n for n in services if "build" in running.services[n]))
        print("bringing it up")
        since = time.time()
        running.compose("up", "--detach", "--no-build", *services)
        for name in services:
            running.wait_for(name, "exited" if name in ONCE else "healthy")
            if name in ONCE and (failed := running.container(name)["State"]["ExitCode"]):
                raise RehearsalError(f"{name} ended with {failed}")
        in_order(running, since)
        through(running, profile, code)
        for name in services:
            look(running, name)
        print(f"confined, and no secret shows: {', '.join(services)}")
        if "prometheus" in services:
            scraped(running)
        time.sleep(1)
        before = spent(running)
        for name in services:
            if name not in ONCE:
                began = time.monotonic()
                killed(running, name)
                took = time.monotonic() - began
                until_answered(running.port, code)
                print(f"{name} was killed; healthy again after {took:.0f} s, and asked through")
        time.sleep(1)
        if spent(running) < before:
            raise RehearsalError("the ledger forgot requests")
        identity = running.identity(gateway)
        began = time.monotonic()
        docker("stop", "--time", "40", identity)
        print(f"the gateway ended within {time.monotonic() - began:.1f} s")
        if ended := running.container(gateway)["State"]["ExitCode"]:
            raise RehearsalError(f"the gateway ended with {ended}")
    finally:
        running.compose("down", "--volumes")


def main() -> int:
    # Each line as it comes, also into a file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    words = set(sys.argv[1:])
    if words - {"--full", "--no-build", "--stand-ins"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        profile = "full" if "--full" in words else "small"
        rehearse(profile, "--no-build" not in words, "--stand-ins" in words)
    except RehearsalError as wrong:
        print(f"rehearsal: {wrong}", file=sys.stderr)
        return 1
    print("all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
