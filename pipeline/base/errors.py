"""Errors that a user can fix; a command shows each as one line and exits with code 1."""

from collections.abc import Iterable

LONGEST = 2000
"""Limit of characters per message, so that it stays readable whatever the file contains."""


def printable(text: str) -> str:
    """Escape characters that are not printable with a backslash, as Python does.

    This keeps a message on one line and a terminal from obeying it.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def listed(names: Iterable[object], limit: int) -> str:
    """Return up to `limit` names with commas between them, and "..." for others."""
    every = list(map(str, names))
    return ", ".join(every[:limit] + ["..."] * (len(every) > limit))


def exact(number: object) -> str:
    """Return the shortest text that reads back as the same number: `0.055`, `255`, `1e-05`.

    A limit in a message, and what breaks it, must not look alike because both were rounded.
    """
    return str(number).removesuffix(".0")


class PipelineError(Exception):
    """Base of all errors whose message is written for the user, as one line."""

    def __init__(self, message: str) -> None:
        line = printable(message)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")


class SettingsError(PipelineError):
    """A setting in params.yaml or on the command line breaks a rule."""


class DataError(PipelineError):
    """A data file is missing, damaged, or not what it should be."""


class DownloadError(DataError):
    """No source of a dataset works."""


class TrainingError(PipelineError):
    """Training cannot continue."""


class ModelError(PipelineError):
    """A model file is invalid or cannot be used."""


class TrackingError(PipelineError):
    """An experiment tracker cannot be used."""


class DeviceError(PipelineError):
    """The requested device cannot be used."""


class ClusterError(PipelineError):
    """The workers for trials cannot be used."""


def in_one_line(error: BaseException) -> str:
    """Return an error's message as one short line without control characters.

    It may quote text from a server or an archive.
    """
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    words = " ".join(text.split())[:300] or type(error).__name__
    return "".join(char if char.isprintable() else "?" for char in words)
