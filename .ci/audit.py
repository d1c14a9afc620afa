"""Check all locked packages for known vulnerabilities (OSV); exit with code 1 if there are any.

Those in ACCEPTED are only printed, as long as a locked package has them. If the service cannot be
reached, print one line and exit with code 0.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import requests

SERVICE = "https://api.osv.dev"
SECONDS = 30
# Status codes of a proxy or a busy service; any other error code means that the query is wrong.
NOT_REACHED = {403, 407, 429}
ACCEPTED = {
    "CVE-2025-69872": "DVC needs diskcache, which has no fixed version; see SECURITY.md",
}
"""Why a vulnerability is accepted, by one of its names."""

Package = tuple[str, str]


def locked_packages(locks: list[Path]) -> list[Package]:
    """Return the name and version of every package in the locks."""
    pin = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
    return sorted({found for lock in locks for found in pin.findall(lock.read_text())})


def advisories(packages: list[Package], service: str) -> dict[Package, list[str]]:
    """Return the ids of the advisories of each package that has any.

    Raises requests.RequestException if the service cannot be reached.
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
        sys.exit(f"{url} refuses the query: {response.status_code} {response.text[:200]}")
    results: list[dict[str, Any]] = response.json()["results"]
    return {
        package: [advisory["id"] for advisory in result["vulns"]]
        for package, result in zip(packages, results, strict=True)
        if result.get("vulns")
    }


def names_of(advisory: str, service: str) -> set[str]:
    """Return the id of an advisory and its aliases, such as its CVE.

    Raises requests.RequestException if the service cannot be reached.
    Source: https://google.github.io/osv.dev/get-v1-vulns/
    """
    response = requests.get(f"{service}/v1/vulns/{advisory}", timeout=SECONDS)
    response.raise_for_status()
    return {advisory, *response.json().get("aliases", [])}


def main() -> None:
    """Check the lock files named on the command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("locks", nargs="+", type=Path)
    options.add_argument("--service", default=SERVICE)
    chosen = options.parse_args()
    packages = locked_packages(chosen.locks)
    try:
        found = advisories(packages, chosen.service)
        names = {name: names_of(name, chosen.service) for ids in found.values() for name in ids}
    except requests.RequestException as error:
        reason = type(error).__name__
        print(f"No advisories were checked: {chosen.service} cannot be reached ({reason}).")
        return
    wrong = 0
    for (name, version), ids in found.items():
        for advisory in ids:
            accepted = ACCEPTED.keys() & names[advisory]
            wrong += not accepted
            print(f"{name} {version}: {advisory}", *(f"({ACCEPTED[cve]})" for cve in accepted))
    for cve in ACCEPTED.keys() - set().union(*names.values()):
        wrong += 1
        print(f"{cve} is accepted, but no locked package has it: delete it from .ci/audit.py")
    print(f"{len(found)} of {len(packages)} locked packages have known vulnerabilities.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
