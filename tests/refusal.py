"""How a user's mistake must look: an error in one line that holds the words to mend it by."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.base.errors import DataError


@contextmanager
def refused(
    *words: object, error: type[DataError] = DataError
) -> Iterator[pytest.ExceptionInfo[DataError]]:
    """Expect a DataError of one line that holds every word."""
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    for word in words:
        assert str(word) in message
