"""Requests for one group at the same moment, on PostgreSQL, where transactions do not exclude each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import sqlalchemy as sa
from crossing import meeting
from grouping import Groups
from postgres import Postgres
from serving import ServiceProcess

from nbdsvc.store import repositories
from nbdsvc.store.database import Database

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
    database = Database(str(api.settings["database"]))
    with meeting(database, hold, request) as (_conn, answered):
        yield
    answered.result()
    database.close()


def test_a_snapshot_while_its_group_is_deleted(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """The snapshot of a volume is being requested when the deletion of its group is: that waits for it, and is refused."""
    api, _host = pair
    groups, answers = Groups(api), list[int]()
    group = groups.group(1)
    (volume,) = groups.volumes_of(group)
    deletion = {"delete": {"delete-volumes": True}}

    def delete() -> None:
        answers.append(groups.ask("POST", f"groups/{group}/action", deletion)[0])

    with _stopped(api, lambda conn: repositories.volumes.get_for_share(conn, volume), delete):
        groups.good("POST", "snapshots", {"snapshot": {"volume_id": volume}})
    assert answers == [400]
    assert groups.rest("groups", group) == "available"
    assert groups.statuses(group) == ["available"]
    (snapshot,) = groups.good("GET", "snapshots/detail")["snapshots"]
    assert snapshot["status"] == "available"


@pytest.mark.parametrize("cascade", [False, True])
def test_a_snapshot_while_its_volume_is_deleted(pair: tuple[ServiceProcess, ServiceProcess], cascade: bool) -> None:
    """The snapshot is accepted when the deletion of its volume is being requested: that is refused, with `cascade` too, because
    the snapshot is being made."""
    api, _host = pair
    groups, answers, volume = Groups(api), list[int](), Groups(api).volume()
    path = f"volumes/{volume}{'?cascade=true' if cascade else ''}"

    def delete() -> None:
        answers.append(groups.ask("DELETE", path)[0])

    with _stopped(api, lambda conn: repositories.volumes.get_for_share(conn, volume), delete):
        groups.good("POST", "snapshots", {"snapshot": {"volume_id": volume}})
    assert answers == [400]
    assert groups.rest("volumes", volume) == "available"
    assert len(groups.good("GET", "snapshots")["snapshots"]) == 1


@pytest.mark.parametrize("path", ["snapshots", "os-snapshot-manage"])
def test_a_snapshot_of_a_volume_whose_deletion_comes_first(
    pair: tuple[ServiceProcess, ServiceProcess], path: str
) -> None:
    """It has looked at the volume, looks again when the quotas are its own, and is refused."""
    api, host = pair
    groups, answers, volume = Groups(api), list[int](), Groups(api).volume()
    ref = {"ref": {"source-name": "x"}} if path != "snapshots" else {}
    body = {"snapshot": {"volume_id": volume, **ref}}
    host.kill()
    with _stopped(api, partial(_lock_quota, api), lambda: answers.append(groups.ask("POST", path, body)[0])):
        groups.good("DELETE", f"volumes/{volume}")
    assert answers == [400]
    host.start()
    assert groups.rest("volumes", volume) == "gone"


def _lock_quota(api: ServiceProcess, conn: sa.Connection) -> None:
    Database(str(api.settings["database"])).lock_name(conn, "quota-p1")


@contextmanager
def _crossed(api: ServiceProcess, first: Hold, then: Hold, request: Callable[[], object]) -> Iterator[None]:
    """The request waits for what one transaction locks `first`, which locks what comes `then` meanwhile. Each waits for the other
    where the request has locked that already."""
    held: list[sa.Connection] = []
    with _stopped(api, lambda conn: (held.append(conn), first(conn)), request):
        then(held[0])
    yield


def test_no_two_requests_wait_for_each_other(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """Quotas come before the source of a copy, and volumes in the order of their ids, whatever order a client gives them in and
    in which they were made."""
    api, _host = pair
    groups, answers = Groups(api), list[tuple[int, object]]()
    group, made = groups.group(), [groups.volume()]
    while len(made) < 2 or made[-1] > made[-2]:
        made.append(groups.volume())
    great, small = made[-2:]
    groups.update(group, add_volumes=f"{great},{small}")
    volumes = repositories.volumes

    def ask(method: str, path: str, body: object = None) -> None:
        answers.append(groups.ask(method, path, body))

    source = {"volume": {"size": 1, "source_volid": great}}
    quota, lower = partial(_lock_quota, api), partial(volumes.get_for_update, id=small)
    members = f"groups/{group}"
    for first, request in (
        (quota, partial(ask, "POST", "volumes", source)),
        (lower, partial(ask, "POST", "group_snapshots", {"group_snapshot": {"group_id": group}})),
        (lower, partial(ask, "POST", "groups/action", {"create-from-src": {"source_group_id": group}})),
        (lower, partial(ask, "PUT", members, {"group": {"remove_volumes": f"{great},{small}"}})),
        (lower, partial(ask, "PUT", members, {"group": {"add_volumes": f"{great},{small}"}})),
    ):
        with _crossed(api, first, partial(volumes.get_for_update, id=great), request):
            assert answers[-1][0] == 202, answers
        api.settle()
    (whole,) = groups.good("GET", "group_snapshots")["group_snapshots"]
    groups.good("DELETE", f"group_snapshots/{whole['id']}")
    api.settle()
    deletion = partial(ask, "POST", f"{members}/action", {"delete": {"delete-volumes": True}})
    with _crossed(api, lower, partial(volumes.get_for_update, id=great), deletion):
        assert answers[-1][0] == 202, answers


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
