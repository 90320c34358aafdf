"""What the tests of the guarantees share."""

import pytest

from tests.support.outages import Told


@pytest.fixture
def told() -> Told:
    """A logger that can be waited for."""
    return Told()
