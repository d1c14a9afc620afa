"""How a user's mistake must look: an error in one line that holds the words to mend it by."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.base.errors import DataError, PipelineError
from tests.reviewed import check_message


@contextmanager
def refused(
    *words: object, error: type[PipelineError] = DataError, match: str | None = None
) -> Iterator[pytest.ExceptionInfo[PipelineError]]:
    """Expect an error of one line that holds every word, matches a pattern, and was reviewed."""
    with pytest.raises(error, match=match) as caught:
        yield caught
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    for word in words:
        assert str(word) in message
    check_message(message)
