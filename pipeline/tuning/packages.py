"""The packages that only sweeps and repeats need: the extra `sweep`."""

from importlib.util import find_spec

from pipeline.errors import SettingsError

PACKAGES = {"optuna": "optuna", "distributed": "dask[distributed]"}
"""The name to install by the name to import."""


def require_packages() -> None:
    """Raise SettingsError, with what to install, where a package is missing."""
    missing = [package for name, package in PACKAGES.items() if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"this needs {' and '.join(missing)}, not installed: pip install -e '.[sweep]'"
        )
