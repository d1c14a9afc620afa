"""Reading params.yaml into settings, with mistakes reported as one line."""

import warnings
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

from pipeline.base.errors import SettingsError
from pipeline.base.params import Settings, sentence, shown

MAX_SENTENCES = 10
"""Limit of broken rules per message."""


def read_params(path: Path = Path("params.yaml")) -> Settings:
    """Read and validate a settings file.

    Raises SettingsError, as one line that names the key, the rule and the value.
    """
    content = _load(Path(path))
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must be a mapping of settings, got {shown(content)}")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        lines = [sentence(detail) for detail in error.errors()]
        if len(lines) > MAX_SENTENCES:
            lines[MAX_SENTENCES:] = [f"and {len(lines) - MAX_SENTENCES} more"]
        raise SettingsError(f"{path}: {'; '.join(lines)}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _load(path: Path) -> Any:
    """Read a YAML file. Raises SettingsError if it is not one."""
    try:
        # YAML 1.2, as in DVC: 1e-4 is a number and `no` is a string.
        yaml = YAML(typ="safe", pure=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            return yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8: {error.reason}") from error
    except (YAMLError, ValueError, LookupError, OverflowError, RecursionError) as error:
        # ruamel raises all but the first for invalid dates, numbers and characters.
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
