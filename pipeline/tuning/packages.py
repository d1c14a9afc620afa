"""The packages that only sweeps and repeats need, installed by the extra `sweep`."""

from importlib.util import find_spec

from pipeline.base.errors import SettingsError

PACKAGES = {"optuna": "optuna", "distributed": "dask[distributed]"}
"""Package name by import name."""


def require_packages() -> None:
    """Raise SettingsError, with the command to install them, if packages are missing."""
    missing = [package for name, package in PACKAGES.items() if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"this needs {' and '.join(missing)}, not installed: pip install -e '.[sweep]'"
        )
