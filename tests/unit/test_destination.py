"""Where a volume that exists may go, and why it may not go elsewhere; on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.destination import chosen_destination, destination_for_type, named_destination
from nbdsvc.config import Settings
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.operations.client import Operations
from nbdsvc.store import backends, promises, repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB

POOL = PoolStats("p", 10 * GiB, 10 * GiB, 0, 0, 0, thin=False)
SENDS, RECEIVES = {"sends_volumes": True}, {"receives_volumes": True}


@pytest.fixture
def app(database: Database) -> App:
    """Of the hosts, one does not listen on the network and one reported long ago; on that of the volume another backend is full."""
    reports = {"here@a": SENDS, "here@b": SENDS, "open@a": SENDS | RECEIVES, "shut@a": SENDS}
    with database.write() as conn:
        for name, capabilities in reports.items():
            host, _, backend = name.partition("@")
            report(conn, host, backend, capabilities)
        report(conn, "silent", "a", SENDS | RECEIVES)
        repositories.volumes.insert(conn, volume("filler", backend="b", size=10))  # after its report
    beats = {name: clock.monotonic() for name in reports} | {"silent@a": clock.monotonic() - 1e6}
    return App(database, Operations(database, None), Settings(), None, beats)


def report(conn: sa.Connection, host: str, backend: str, capabilities: dict[str, Any]) -> None:
    settled = promises.settled(conn, host, backend)
    measured = promises.measured(settled, settled)
    backends.report(conn, host, backend, "nova", [POOL], measured, working=True, capabilities=capabilities)


def volume(name: str, **given: Any) -> Volume:
    values = {"size": 1, "status": "available", "host": "here", "backend": "a", "pool": "p", "name": name, **given}
    return Volume(names.new_id(), "p", "u", **values)


def test_every_pool_that_cannot_be_reached_is_listed_with_its_reason(app: App) -> None:
    """A host that exports nothing over the network is neither chosen nor silently left out."""
    with app.database.write() as conn:
        backends_of_open = backends.find(conn, "open@a")
        assert backends_of_open
        repositories.backends.update(conn, backends_of_open.id, disabled=True)
        for choose in (chosen_destination, lambda *given: destination_for_type(*given, VolumeType("t", "t"))):
            with pytest.raises(errors.NoRoom) as caught:
                choose(app, conn, volume("v"))
            reason = str(caught.value)
            assert (
                "shut@a#p: ReachableHostFilter: host shut takes no volumes of other hosts: it exports nothing" in reason
            )
            assert "open@a#p: BackendStateFilter: the backend is disabled" in reason
            assert "silent@a#p: BackendStateFilter: the backend is down" in reason
            assert "here@b#p: CapacityFilter" in reason
        with pytest.raises(errors.InvalidInput, match="ReachableHostFilter: host shut takes no volumes"):
            named_destination(app, conn, volume("v"), "shut@a#p")


def test_a_volume_in_use_goes_to_no_host_of_an_older_version(app: App) -> None:
    """It is refused by name, and the scheduler chooses none, whatever room it has."""
    used = volume("v", status="in-use")
    with app.database.write() as conn:
        assert chosen_destination(app, conn, volume("v")) == "open@a#p"
        with pytest.raises(errors.NoRoom, match="open@a#p: ReachableHostFilter: the volume is in use"):
            chosen_destination(app, conn, used)
        with pytest.raises(errors.InvalidInput, match="is of a version that cannot move it"):
            named_destination(app, conn, used, "open@a#p")
