"""Build the sdist and the wheel of a commit; the same commit gives the same bytes.

The time in both is that of the commit. setuptools takes it for a wheel from SOURCE_DATE_EPOCH, but
writes the current time, the user and the order of the folder into an sdist.
"""

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import build_meta


def main() -> None:
    """Build from the files in the current folder that git tracks."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", default=Path("dist"))
    folder = options.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    moment = os.environ["SOURCE_DATE_EPOCH"] = _git("log", "-1", "--format=%ct").strip()
    os.umask(0o022)  # the wheel contains the modes of the files
    with TemporaryDirectory() as copy:
        for name in filter(None, _git("ls-files", "-z").split("\0")):
            target = Path(copy, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
        os.chdir(copy)  # setuptools would leave a folder with copies, and pack them the next time
        quiet = {"--global-option": ["--quiet"]}
        sdist = folder / build_meta.build_sdist(str(folder), quiet)
        wheel = folder / build_meta.build_wheel(str(folder), quiet)
    sdist.write_bytes(_normalised(sdist.read_bytes(), int(moment)))
    sys.stdout.write(f"{sdist}\n{wheel}\n")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, check=True, text=True).stdout


def _normalised(content: bytes, moment: int) -> bytes:
    """Return a .tar.gz with its files in order, one time for all, and no names of users."""
    written = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for entry in sorted(old.getmembers(), key=lambda entry: entry.name):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = moment, 0, 0, "", ""
            entry.pax_headers = {}
            new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
    return gzip.compress(written.getvalue(), mtime=moment)


if __name__ == "__main__":
    main()
