"""`python deploy/sbom.py NAME VERSION [FOLDER]`: what is inside, as CycloneDX 1.5 JSON.

FOLDER is a site-packages (default: this interpreter's packages). Debian's packages are added where
dpkg is. The same packages give the same bytes: there is no date and no random number in it.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import uuid
from importlib.metadata import Distribution, distributions
from typing import Any


def component(found: Distribution) -> dict[str, Any]:
    """One Python package, by its own metadata."""
    name = found.metadata["Name"].lower().replace("_", "-")
    row: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{found.version}",
        "name": name,
        "version": found.version,
        "purl": f"pkg:pypi/{name}@{found.version}",
    }
    named = [
        found.metadata[field]
        for field in ("License-Expression", "License")
        if field in found.metadata
    ]
    licence = named[0] if named else ""
    if licence and len(licence) < 100 and "\n" not in licence:
        row["licenses"] = [{"license": {"name": licence}}]
    return row


def debian() -> list[dict[str, Any]]:
    """Debian's packages; none where dpkg is not."""
    if shutil.which("dpkg-query") is None:
        return []
    said = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package}\t${Version}\t${Architecture}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = []
    for line in said.stdout.splitlines():
        name, version, architecture = line.split("\t")
        url = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
        rows.append(
            {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
        )
    return rows


def document(name: str, version: str, folder: str | None) -> dict[str, Any]:
    """The whole bill of materials."""
    packages = distributions(path=[folder]) if folder else distributions()
    rows = {row["bom-ref"]: row for row in [*map(component, packages), *debian()]}
    ordered = [rows[key] for key in sorted(rows)]
    digest = hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).digest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": version}},
        "components": ordered,
    }


def main() -> int:
    name, version, *rest = sys.argv[1:]
    json.dump(document(name, version, rest[0] if rest else None), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
