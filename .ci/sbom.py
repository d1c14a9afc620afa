"""Write a bill of materials (SBOM) of requirements.lock, and refuse licences that are not allowed.

The format is CycloneDX 1.6 as JSON, https://cyclonedx.org/docs/1.6/json/. Hashes come from the
lock, licences from the metadata of the installed packages. The same lock gives the same bytes.
"""

import argparse
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause",
    "CC0-1.0", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib", "ZPL-2.1",
}  # fmt: skip
"""SPDX identifiers of licences that let anyone use this project with its packages."""
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
}
"""SPDX identifiers of the names that packages use instead."""
SPELT_OUT = {
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",
    "grandalf": "EPL-1.0 OR GPL-2.0-only",
    "importlib-metadata": "Apache-2.0",
    "pygit2": "GPL-2.0-only WITH GCC-exception-2.0",
    "pywin32": "PSF-2.0 AND BSD-3-Clause AND LGPL-2.1-or-later AND MIT AND LicenseRef-Scintilla",
    "tzdata": "Apache-2.0",
    "zipp": "MIT",
}
"""Licences as in the licence files of the locked wheels, where metadata is incomplete or absent.

It is absent for packages that are not installed on every system and every Python.

The metadata of pywin32 names its main licence only; adodbapi in it is under the LGPL.
"""
ACCEPTED = {"asyncssh", "grandalf", "pygit2", "pywin32"}
"""Packages under other licences that others here need (asyncssh, grandalf and pygit2: DVC; pywin32
is installed on Windows only). They are used unchanged, and nothing here contains them.
"""

Component = dict[str, Any]


def components(lock: Path) -> list[Component]:
    """Return the packages of a lock, by name, with hashes and licences."""
    text = lock.read_text(encoding="utf-8")
    entries = re.findall(
        r"^([a-z0-9][\w.-]*)==([^\s;\\]+)((?:.*\\\n)*.*)", text, re.MULTILINE | re.IGNORECASE
    )
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "licenses": [{"expression": licence(name)}],
            "externalReferences": [
                {
                    "type": "distribution",
                    "url": f"pkg:pypi/{name}@{version}",
                    "hashes": [
                        {"alg": "SHA-256", "content": digest}
                        for digest in sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
                    ],
                }
            ],
        }
        for name, version, rest in entries
    ]


def licence(name: str) -> str:
    """Return the licence of an installed package as an SPDX expression."""
    if name in SPELT_OUT:
        return SPELT_OUT[name]
    try:
        of = metadata(name)
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed; its licence must be in SPELT_OUT of {__file__}")
    if expression := of.get("License-Expression"):
        return str(expression)
    last = [line.split(" :: ")[-1] for line in of.get_all("Classifier") or [] if "License" in line]
    found = last or [(of.get("License") or "none").splitlines()[0]]
    return " AND ".join(sorted({NAMES.get(each, each) for each in found}))


def allowed(expression: str) -> bool:
    """Whether an SPDX expression permits the use under allowed licences alone."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        word = "MIT" if allowed(inner[1]) else "refused"
        expression = expression[: inner.start()] + word + expression[inner.end() :]
    return any(
        all(part.strip() in ALLOWED for part in choice.split(" AND "))
        for choice in expression.split(" OR ")
    )


def main() -> None:
    """Write the bill of materials, or name the packages whose licences are not allowed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("output", type=Path, nargs="?", default=Path("dist/sbom.cdx.json"))
    output = options.parse_args().output
    found = components(Path("requirements.lock"))
    refused = [
        f"{each['name']}: {each['licenses'][0]['expression']}" for each in found
        if each["name"] not in ACCEPTED and not allowed(each["licenses"][0]["expression"])
    ]  # fmt: skip
    if refused:
        sys.exit("\n".join(["licences that are not allowed:", *refused]))
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": found}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    print(f"{output}: {len(found)} packages, all of allowed licences")


if __name__ == "__main__":
    main()
