"""`python -m deploy.standins.cluster build|up|run COMMAND...|load IMAGE...|down`: one node of
Kubernetes, where no cluster can be had.

Its parts are the project's own, built from their Go modules; etcd, containerd, runc and the
network plugins are Debian's (etcd-server, containerd, containernetworking-plugins, iptables). All
of it runs in a network namespace of its own, so nothing of it can be reached from this machine's
network and no rule of it is left behind: `run` runs a command, such as kubectl, in there. For
rehearsals alone: everybody in there is its administrator, and its network plugin knows no
NetworkPolicy. Needs root, and Docker for the images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from string import Template

FILES = Path(__file__).resolve().parent / "node"
HOME = Path("var/cluster").resolve()
BIN, LOGS, ETC = HOME / "bin", HOME / "logs", HOME / "etc"
CONFIG = ETC / "kubeconfig"
NAMESPACE = "pointsman-cluster"
NODE, POD_NETWORK, SERVICE_NETWORK = "10.77.0.1", "10.244.0.0/24", "10.96.0.0/16"
VERSION = "1.34.4"
OWN = (
    *("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"),
    "kube-proxy",
)
OTHERS = (
    "helm.sh/helm/v3/cmd/helm@v3.19.0",
    "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0",
    "github.com/coredns/coredns@v1.13.1",
)
NEEDED = ("etcd", "containerd", "runc", "iptables", "conntrack", "gcc", "docker")
PAUSE = "pointsman/pause:1"
SOCKET = HOME / "containerd.sock"
PATIENCE_S = 120.0


class ClusterError(Exception):
    """What is not as it should be, in words."""


def said(*command: str | Path, inside: bool = False, given: str | None = None) -> str:
    """What a command said; ClusterError when it failed."""
    whole = [*(_inside() if inside else ()), *(str(word) for word in command)]
    done = subprocess.run(whole, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(whole)}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def _inside() -> list[str]:
    # Not `ip netns exec`, which hides the control groups.
    return ["nsenter", f"--net=/run/netns/{NAMESPACE}", "--"]


# -- building -----------------------------------------------------------------------------------


def build() -> None:
    """Takes some twenty minutes on two cores, and 8 GB in Go's caches."""
    BIN.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(BIN), "GOTOOLCHAIN": "local"}
    module = HOME / "module"
    module.mkdir(exist_ok=True)
    if missing := [name for name in OWN if not (BIN / name).is_file()]:
        _write_module(module)
        subprocess.run(["go", "mod", "tidy"], cwd=module, env=environment, check=True)
        stamped = "k8s.io/component-base/version"
        major, minor, _ = VERSION.split(".")
        flags = f"-s -w -X {stamped}.gitVersion=v{VERSION}"
        flags += f" -X {stamped}.gitMajor={major} -X {stamped}.gitMinor={minor}"
        for name in missing:
            print(f"building {name} {VERSION}", flush=True)
            command = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(BIN / name)]
            command.append(f"k8s.io/kubernetes/cmd/{name}")
            subprocess.run(command, cwd=module, env=environment, check=True)
    for path in OTHERS:
        name = path.partition("@")[0].rpartition("/")[2]
        if not (BIN / name).is_file():
            print(f"building {name}", flush=True)
            subprocess.run(["go", "install", "-trimpath", path], env=environment, check=True)


def _write_module(folder: Path) -> None:
    """A module that asks for Kubernetes; its own does not say where its parts are to be had."""
    found = json.loads(said("go", "mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"))
    text = Path(found["GoMod"]).read_text(encoding="utf-8")
    parts = sorted(set(re.findall(r"(k8s\.io/[\w-]+) v0\.0\.0\s", text)))
    version = f"v0.{VERSION.partition('.')[2]}"
    replaced = "".join(f"\t{part} => {part} {version}\n" for part in parts)
    (folder / "go.mod").write_text(
        f"module cluster\n\ngo 1.24.0\n\ngodebug default=go1.24\n\n"
        f"require k8s.io/kubernetes v{VERSION}\n\nreplace (\n{replaced})\n",
        encoding="utf-8",
    )
    imports = "".join(f'import _ "k8s.io/kubernetes/cmd/{name}"\n' for name in OWN)
    (folder / "tools.go").write_text(
        f"//go:build tools\n\npackage tools\n\n{imports}", encoding="utf-8"
    )


# -- running ------------------------------------------------------------------------------------


def start(name: str, *command: str | Path, beside: dict[str, str] | None = None) -> None:
    """A process of the cluster, whose number is kept for `down`."""
    path = f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*_inside(), *(str(word) for word in command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": path, "HOME": str(HOME), **(beside or {})},
        )
    (HOME / "pids").mkdir(exist_ok=True)
    (HOME / "pids" / name).write_text(str(process.pid), encoding="utf-8")


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {PATIENCE_S:.0f} s; see {LOGS}")
        time.sleep(0.5)


def kubectl(*words: str, given: str | None = None) -> str:
    return said(BIN / "kubectl", "--kubeconfig", CONFIG, *words, inside=True, given=given)


def answers(*words: str) -> bool:
    try:
        return bool(kubectl(*words).strip())
    except ClusterError:
        return False


def up() -> None:
    lacking = [name for name in NEEDED if not shutil.which(name)]
    if lacking or not Path("/usr/lib/cni/bridge").exists():
        raise ClusterError(f"missing: {', '.join(lacking) or 'containernetworking-plugins'}")
    for folder in (BIN, LOGS, ETC / "cni"):
        folder.mkdir(parents=True, exist_ok=True)
    _lay_network()
    _lay_files()
    master = f"--kubeconfig={CONFIG}"
    start(
        *("etcd", "etcd", f"--data-dir={HOME / 'etcd'}", "--log-level=warn"),
        *("--listen-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380"),
        "--advertise-client-urls=http://127.0.0.1:2379",
    )
    start(
        *("apiserver", BIN / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379"),
        *(f"--advertise-address={NODE}", f"--service-cluster-ip-range={SERVICE_NETWORK}"),
        *(f"--cert-dir={HOME / 'apiserver'}", f"--token-auth-file={ETC / 'tokens.csv'}"),
        *("--authorization-mode=Node,RBAC", "--service-account-issuer=https://kubernetes"),
        *(f"--service-account-key-file={ETC / 'accounts.key'}",),
        *(f"--service-account-signing-key-file={ETC / 'accounts.key'}",),
        *("--kubelet-preferred-address-types=InternalIP", "--allow-privileged=false"),
        "--feature-gates=SizeBasedListCostEstimate=false",
        *(f"--requestheader-client-ca-file={ETC / 'front.crt'}",),
        *("--requestheader-username-headers=X-Remote-User",),
        *("--requestheader-group-headers=X-Remote-Group",),
        *("--requestheader-extra-headers-prefix=X-Remote-Extra-",),
        *(f"--proxy-client-cert-file={ETC / 'front.crt'}",),
        f"--proxy-client-key-file={ETC / 'front.key'}",
    )
    until("the API server is ready", lambda: answers("get", "--raw", "/readyz"))
    start(
        *("controllers", BIN / "kube-controller-manager", master, "--leader-elect=false"),
        f"--service-account-private-key-file={ETC / 'accounts.key'}",
    )
    start("scheduler", BIN / "kube-scheduler", master, "--leader-elect=false")
    start("containerd", "containerd", "--config", ETC / "containerd.toml")
    until("containerd answers", lambda: SOCKET.exists())
    _make_pause()
    start(
        *("kubelet", BIN / "kubelet", master, f"--config={ETC / 'kubelet.yaml'}"),
        *(f"--root-dir={HOME / 'kubelet'}", f"--node-ip={NODE}", "--hostname-override=node"),
    )
    start("dns", BIN / "coredns", "-conf", ETC / "Corefile")
    until("the node is there", lambda: answers("get", "node", "node", "--output=name"))
    start("proxy", BIN / "kube-proxy", f"--config={ETC / 'proxy.yaml'}", "--hostname-override=node")
    kubectl("apply", f"--filename={ETC / 'metrics.yaml'}")
    start(
        *("metrics", BIN / "metrics-server", master, f"--authentication-kubeconfig={CONFIG}"),
        *(f"--authorization-kubeconfig={CONFIG}", f"--cert-dir={HOME / 'metrics'}"),
        *("--secure-port=10260", "--kubelet-insecure-tls", "--metric-resolution=15s"),
        "--kubelet-preferred-address-types=InternalIP",
    )
    until("the node is ready", lambda: " Ready" in kubectl("get", "nodes"))
    until("the node is measured", lambda: answers("top", "node", "node"))
    print(kubectl("get", "nodes", "--output=wide"), end="")


def _lay_network() -> None:
    if not Path(f"/run/netns/{NAMESPACE}").exists():
        said("ip", "netns", "add", NAMESPACE)
        for words in (
            "link set lo up",
            "link add node0 type veth peer name node1",
            f"addr add {NODE}/24 dev node0",
            "link set node0 up",
            "link set node1 up",
            f"route add default via {NODE} dev node0",
        ):
            said("ip", *words.split(), inside=True)
        said("sysctl", "-qw", "net.ipv4.ip_forward=1", inside=True)


def _lay_files() -> None:
    token = ETC / "tokens.csv"
    if not token.exists():
        key = os.urandom(24).hex()
        token.write_text(f'{key},admin,admin,"system:masters"\n', encoding="utf-8")
        token.chmod(0o600)
        said("openssl", "genrsa", "-out", ETC / "accounts.key", "2048")
        said(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-subj", "/CN=front-proxy-client", "-keyout", ETC / "front.key"),
            *("-out", ETC / "front.crt"),
        )
    key = token.read_text(encoding="utf-8").partition(",")[0]
    places = {
        **{"home": HOME, "etc": ETC, "config": CONFIG, "socket": SOCKET, "pause": PAUSE},
        **{"node": NODE, "network": POD_NETWORK, "key": key},
    }
    for path in FILES.iterdir():
        text = Template(path.read_text(encoding="utf-8")).substitute(places)
        folder = ETC / "cni" if path.suffix == ".conflist" else ETC
        (folder / path.name).write_text(text, encoding="utf-8")
    (ETC / "kubeconfig").chmod(0o600)


def ctr(*words: str | Path) -> str:
    return said("ctr", f"--address={SOCKET}", "--namespace=k8s.io", *words)


def _make_pause() -> None:
    """The process that holds a pod's namespaces open: one that waits for ever."""
    until("containerd answers", lambda: bool(_quietly(ctr, "version")))
    if PAUSE in ctr("images", "ls", "--quiet"):
        return
    folder = HOME / "pause"
    folder.mkdir(exist_ok=True)
    source = folder / "pause.c"
    source.write_text(
        "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "static void end(int n) { (void)n; _exit(0); }\n"
        "int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }\n",
        encoding="utf-8",
    )
    said("gcc", "-static", "-O2", "-o", folder / "pause", source)
    said("tar", "-C", folder, "-cf", folder / "pause.tar", "pause")
    said("docker", "import", "--change", 'ENTRYPOINT ["/pause"]', folder / "pause.tar", PAUSE)
    load([PAUSE])


def load(images: list[str]) -> None:
    """Docker's images become the node's."""
    archive = HOME / "images.tar"
    # Together: what they share is written once.
    said("docker", "save", "--output", archive, *images)
    ctr("images", "import", archive)
    archive.unlink()


def _quietly(asked: Callable[..., str], *words: str) -> str:
    try:
        return asked(*words)
    except ClusterError:
        return ""


def down() -> None:
    """Ends what `up` started, by its process id, and removes what it laid."""
    _quietly(kubectl, "delete", "deployments,jobs,pods", "--all", "--all-namespaces", "--wait=true")
    order = ("metrics", "proxy", "dns", "kubelet")
    for name in order:
        _end(name)
    for task in _quietly(ctr, "tasks", "ls", "--quiet").split():
        _quietly(ctr, "tasks", "kill", "--signal=SIGKILL", "--all", task)
        time.sleep(0.2)
        _quietly(ctr, "tasks", "delete", task)
    for container in _quietly(ctr, "containers", "ls", "--quiet").split():
        _quietly(ctr, "containers", "delete", container)
    for name in ("containerd", "scheduler", "controllers", "apiserver", "etcd"):
        _end(name)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((one for one in mounts if one.startswith(f"{HOME}/")), reverse=True):
        _quietly(said, "umount", path)
    if Path(f"/run/netns/{NAMESPACE}").exists():
        said("ip", "netns", "delete", NAMESPACE)
    for group in sorted(Path("/sys/fs/cgroup").glob("*/kubepods/**/"), reverse=True):
        group.rmdir()
    for folder in ("etcd", "kubelet", "containerd", "state", "apiserver", "metrics", "etc", "pids"):
        shutil.rmtree(HOME / folder, ignore_errors=True)


def _end(name: str) -> None:
    kept = HOME / "pids" / name
    if not kept.exists():
        return
    pid = int(kept.read_text(encoding="utf-8"))
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            for _ in range(50):
                os.kill(pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            break
    kept.unlink()


def run(command: list[str]) -> int:
    """A command inside, which finds kubectl, helm and the cluster; its exit code."""
    path = f"{BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(CONFIG), "PATH": path}
    return subprocess.run([*_inside(), *command], env=environment, check=False).returncode


def main(words: list[str]) -> int:
    try:
        match words:
            case ["build"]:
                build()
            case ["up"]:
                up()
            case ["down"]:
                down()
            case ["load", *images] if images:
                load(images)
            case ["run", *command] if command:
                return run(command)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except ClusterError as wrong:
        print(f"cluster: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
