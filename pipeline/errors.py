"""Mistakes a user can make and mend; a command shows each as one line and exits with code 1."""

LONGEST = 2000
"""Signs of a message at the most: a line to read, whatever was in the file it speaks of."""


def printable(text: str) -> str:
    """Write what a terminal would obey or cannot show with a backslash, as Python does.

    So a name in a message stays a name, and a message one line.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


class PipelineError(Exception):
    """Base of every error whose message is written for the user, in one line."""

    def __init__(self, message: str) -> None:
        line = printable(message)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")


class SettingsError(PipelineError):
    """A setting in params.yaml or on the command line breaks a rule."""


class DataError(PipelineError):
    """A data file is missing, damaged, or not what it should be."""


class DownloadError(DataError):
    """No source of a dataset could be had."""


class TrainingError(PipelineError):
    """Training cannot go on."""


class ModelError(PipelineError):
    """A model file does not fit."""


class TrackingError(PipelineError):
    """An experiment tracker cannot be used."""


class DeviceError(PipelineError):
    """The requested device cannot be used."""


class ClusterError(PipelineError):
    """The workers that should run trials cannot be used."""


def in_one_line(error: BaseException) -> str:
    """Give an error's message for a terminal: one line, not endless, no control characters.

    What a server or an archive wrote may be part of it.
    """
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    words = " ".join(text.split())[:300] or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words)
