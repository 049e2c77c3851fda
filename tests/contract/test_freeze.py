"""Being notified of a freeze, over every driver that wants to be (nbdsvc/driver/freeze.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pools import Made, implementing, made_on, put, volume

from nbdsvc.driver import FreezeDriver


@pytest.fixture(params=implementing("FreezeDriver"))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """Makes the driver, and makes it again on the same pool, as after a restart."""
    yield from made_on(request.param, tmp_path)


@pytest.mark.row("S087")
def test_a_frozen_backend_serves_its_volumes(make: Made) -> None:
    """Freezing and thawing may be repeated, also after a restart, in any order; bytes are written and read meanwhile."""
    driver, ref = make(), volume()
    driver.create_volume(ref, "op")
    for verb in ("thaw_backend", "freeze_backend", "freeze_backend", "thaw_backend", "thaw_backend"):
        for again in (driver, make()):
            assert isinstance(again, FreezeDriver)
            assert getattr(again, verb)() is True
            put(again, ref, 0, verb.encode())
            assert again.location(ref).path.read_bytes().startswith(verb.encode())
            assert [each.id for each in again.list_objects()] == [ref.id]
            again.check_for_setup_error()
