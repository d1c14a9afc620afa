"""The environment in which the templates of all pages are rendered."""

from pathlib import Path

import jinja2


def environment(folder: Path) -> jinja2.Environment:
    """Return an environment for the templates in a folder: text is escaped, no name may be missing.

    JSON is compact and in Python's order, so that the same content gives the same bytes.
    """
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return found
