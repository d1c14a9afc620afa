"""What every command line here shares: a user's mistake is one line and exit code 1."""

from typing import Any

import click

from pipeline.errors import PipelineError


class Command(click.Command):
    """A click command that shows the project's own errors without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise click.ClickException(" ".join(str(error).split())) from error


def warn(message: str) -> None:
    """Show a warning, in one line, on the standard error."""
    click.echo(f"Warning: {message}", err=True)
