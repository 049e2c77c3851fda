"""The drivers that the contract is tested on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pools import BACKENDS, Made, made_on


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """Makes the driver, and makes it again on the same pool, as after a restart."""
    yield from made_on(request.param, tmp_path)
