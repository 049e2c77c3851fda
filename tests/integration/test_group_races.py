"""Requests for one group at the same moment, on PostgreSQL, where transactions do not exclude each other."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import sqlalchemy as sa
from grouping import Groups
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.store import repositories
from nbdsvc.store.database import Database

_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
# What other transactions are to wait for, see _stopped.
Hold = Callable[[sa.Connection], object]


@pytest.fixture
def pair(
    make_service: Callable[..., ServiceProcess], postgres: Postgres
) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """(api, host): one database, so that requests are taken while the host is stopped."""
    database = postgres.database()
    host = make_service("h", start=False, database=database)
    host.role = "host"
    api = make_service("f", start=False, database=database)
    api.role = "api"
    yield api.start(), host.start()


@contextmanager
def _stopped(api: ServiceProcess, hold: Hold, request: Callable[[], object]) -> Iterator[None]:
    """In the block the request waits for what `hold` locks; after it, it is answered."""
    database, thread = Database(str(api.settings["database"])), threading.Thread(target=request)
    with database.write() as conn:
        hold(conn)
        thread.start()
        wait_until(lambda: bool(conn.execute(_WAITING).scalar_one()), 20)
        yield
    thread.join(20)
    assert not thread.is_alive()
    database.close()


def test_a_snapshot_while_its_group_is_deleted(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """The snapshot of a volume is requested when the deletion of its group has just looked for snapshots: both are accepted,
    and the group stays with its volume and the snapshot.
    """
    api, host = pair
    groups, answers = Groups(api), list[int]()
    group = groups.group(1)
    (volume,) = groups.volumes_of(group)
    host.kill()
    deletion = {"delete": {"delete-volumes": True}}

    def delete() -> None:
        answers.append(groups.ask("POST", f"groups/{group}/action", deletion)[0])

    with _stopped(api, lambda conn: repositories.volumes.get_for_share(conn, volume), delete):
        groups.good("POST", "snapshots", {"snapshot": {"volume_id": volume}})
    assert answers == [202]
    host.start()
    assert groups.rest("groups", group) == "available"
    assert groups.statuses(group) == ["available"]
    (snapshot,) = groups.good("GET", "snapshots/detail")["snapshots"]
    assert snapshot["status"] == "available"


def test_a_volume_that_is_reserved_meanwhile(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """What copies a volume, alone or with its group, has looked at it when it is reserved, and would copy it while it is
    written. It looks again, and is refused.
    """
    api, _host = pair
    groups, answers = Groups(api), list[int]()
    database = Database(str(api.settings["database"]))
    group = groups.group(1)
    (volume,) = groups.volumes_of(group)
    for path, body in (
        ("snapshots", {"snapshot": {"volume_id": volume}}),
        ("group_snapshots", {"group_snapshot": {"group_id": group}}),
        ("groups/action", {"create-from-src": {"source_group_id": group}}),
    ):
        request = partial(groups.ask, "POST", path, body)
        with _stopped(api, lambda conn: database.lock_name(conn, "quota-p1"), lambda: answers.append(request()[0])):
            groups.good("POST", f"volumes/{volume}/action", {"os-reserve": {}})
        groups.good("POST", f"volumes/{volume}/action", {"os-unreserve": {}})
    assert answers == [400] * 3
