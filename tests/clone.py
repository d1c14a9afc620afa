"""A clone of the project with little to train, and commands run in it."""

import os
import subprocess

import pytest

VARIANTS = ("tiny", "two_hidden")


def shell(command, folder, check=True):
    environment = os.environ | {"COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
    result = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if check and result.returncode:
        pytest.fail(f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return result


def clean(folder):
    shell("make -s reset", folder)
