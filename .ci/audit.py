"""Ask a service of public advisories (OSV) about every package in the locks; exit with 1 for one.

Where the service cannot be reached, one line says so and the exit code is 0.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import requests

SERVICE = "https://api.osv.dev"
SECONDS = 30
# What a proxy or a busy service answers; any other refusal is a mistake in the question.
NOT_REACHED = {403, 407, 429}

Package = tuple[str, str]


def locked_packages(locks: list[Path]) -> list[Package]:
    """Give name and version of every package that a lock holds."""
    pin = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
    return sorted({found for lock in locks for found in pin.findall(lock.read_text())})


def advisories(packages: list[Package], service: str) -> dict[Package, list[str]]:
    """Give the ids of the advisories for those packages that have any.

    Raises requests.RequestException where the service cannot be reached.
    Source: https://google.github.io/osv.dev/post-v1-querybatch/
    """
    queries: list[Any] = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in packages
    ]
    url = f"{service}/v1/querybatch"
    response = requests.post(url, json={"queries": queries}, timeout=SECONDS)
    if response.status_code in NOT_REACHED or response.status_code >= 500:
        response.raise_for_status()
    if not response.ok:
        sys.exit(f"{url} refuses the question: {response.status_code} {response.text[:200]}")
    results: list[dict[str, Any]] = response.json()["results"]
    return {
        package: [advisory["id"] for advisory in result["vulns"]]
        for package, result in zip(packages, results, strict=True)
        if result.get("vulns")
    }


def main() -> None:
    """Check the locks that are named on the command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("locks", nargs="+", type=Path)
    options.add_argument("--service", default=SERVICE)
    chosen = options.parse_args()
    packages = locked_packages(chosen.locks)
    try:
        found = advisories(packages, chosen.service)
    except requests.RequestException as error:
        reason = type(error).__name__
        print(f"No advisories were checked: {chosen.service} cannot be reached ({reason}).")
        return
    for (name, version), ids in found.items():
        print(f"{name} {version}: {', '.join(ids)}")
    print(f"{len(found)} of {len(packages)} locked packages have known vulnerabilities.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
