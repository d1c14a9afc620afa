"""Commands run in the process of the tests, which saves each the second in which Python starts."""

from contextlib import chdir
from pathlib import Path

import click
from click.testing import CliRunner, Result

from tests.reviewed import check_message


def run_in(folder: Path, command: click.Command, *arguments: object, given: str = "") -> Result:
    """Run a command in a folder; `given` is what the user types."""
    with chdir(folder):
        result = CliRunner().invoke(
            command, list(map(str, arguments)), input=given, catch_exceptions=False
        )
    if result.exit_code:
        check_message(result.stderr)
    return result
