"""A state folder of an older version, started by this one: everything is there and goes on, and no export is disturbed.

The older version is built from the history and does what it does by itself: its rows, notes and servers are no copies.
"""

import contextlib
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbd_client
import older
import pytest
from asking import ask
from backends import COPYING, INSTANT, SIMULATED_LIO, Backend
from killing import LOCAL, SETTLED, WRITTEN, Case, World, empty, prepare
from older import Older
from serving import HERE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors

PATTERN_BLOCK = WRITTEN[:512]
# Operations that hold the lock of their pool.
_ONE_AT_A_TIME = ("volume.manage", "volume.unmanage", "snapshot.manage", "snapshot.unmanage")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Older]:
    """The version of a commit, built once."""
    return functools.cache(lambda commit: older.built(commit, tmp_path_factory.mktemp("older")))


@pytest.fixture
def before(build: Callable[[str], Older]) -> Older:
    """The oldest version whose state folders are taken over."""
    return build(older.BEFORE_BACKENDS)


@pytest.fixture
def start_older(
    make_service: Callable[..., ServiceProcess], build: Callable[[str], Older]
) -> Callable[..., ServiceProcess]:
    """Starts a service of an older version, the oldest one unless a commit is given."""

    def start(backend: Backend, commit: str = older.BEFORE_BACKENDS, **settings: Any) -> ServiceProcess:
        service = make_service(start=False, backend=backend, max_copies=32, attach_timeout=1, **settings)
        service.tree, service.script = build(commit).tree, HERE / "halting.py"
        service.environment["HALT_PLAN"] = str(_plan(service))
        return service.start()

    return start


def _plan(service: ServiceProcess) -> Path:
    return service.state.parent / "halt.json"


def _upgrade(service: ServiceProcess) -> None:
    """Kill the older version, and start this one where it was."""
    service.kill()
    service.tree, service.script = HERE.parents[1], HERE / "crashing.py"
    service.start()


# The extra specs of a type: the oldest version took any, later ones look for a pool that has them.
@pytest.mark.parametrize(
    ("commit", "specs"), [(older.BEFORE_BACKENDS, {"tier": "1"}), (older.BEFORE_LOCATIONS, {"vendor:tier": "1"})]
)
def test_everything_is_there_and_goes_on(
    start_older: Callable[..., ServiceProcess], commit: str, specs: dict[str, str]
) -> None:
    """Volumes, snapshots, types, quotas and attachments are as they were; clients of live exports see nothing of it, also
    where one is connected again.
    """
    service = start_older(INSTANT, commit)
    world = World(service)
    made = _furnish(world, specs)
    servers = service.servers()
    with nbd_client.connected(service.state / "exports" / made["attached"] / "nbd.sock") as client:
        assert nbd_client.read(client) == PATTERN_BLOCK
        _upgrade(service)
        service.settle()
        _wait_for_looks(service)
        world.client.act("volumes", made["by actions"], "os-initialize_connection", {"connector": LOCAL})
        assert nbd_client.read(client) == PATTERN_BLOCK
    assert service.servers() == servers, "live exports are not started again"
    assert service.leftovers() == []
    _check_rows(world, made)
    for id in (made["attached"], made["connected"], made["reserved"]):
        world.client.delete("attachments", id)
    world.client.act("volumes", made["by actions"], "os-detach", {})
    service.settle()
    assert service.servers() == set()
    assert {row["status"] for row in world.client.get("volumes", "detail")["volumes"]} == {"available"}
    assert world.attachment(made["written"])
    empty(world)


def _furnish(world: World, specs: dict[str, str]) -> dict[str, str]:
    """One of each; names -> ids."""
    client = world.client
    client.post("types", body={"volume_type": {"name": "gold", "extra_specs": specs}})
    assert ask(world.service, "PUT", "/v3/os-quota-sets/p1", {"quota_set": {"snapshots": 77}})[0] == 200
    made = {"written": world.written(), "image": world.volume(imageRef="base.qcow2", volume_type="gold")}
    made["snapshot"] = world.snapshot(made["written"])
    made["clone"] = world.volume(source_volid=made["written"], metadata={"k": "v"})
    made["attached"] = world.attachment(made["written"])
    made["connected"] = _attach(world, made["clone"])
    made["reserved"] = _attach(world, made["image"], connector=None)
    made["by actions"] = world.written()
    client.act("volumes", made["by actions"], "os-initialize_connection", {"connector": LOCAL})
    client.act("volumes", made["by actions"], "os-attach", {"host_name": "me", "mountpoint": "/dev/vdb"})
    return made


def _attach(world: World, volume: str, connector: dict[str, str] | None = LOCAL) -> str:
    body: dict[str, Any] = {"volume_uuid": volume, "connector": connector}
    return str(world.client.post("attachments", body={"attachment": body})["attachment"]["id"])


def _check_rows(world: World, made: dict[str, str]) -> None:
    client = world.client
    volumes = {row["id"]: row for row in client.get("volumes", "detail")["volumes"]}
    statuses = {name: volumes[made[name]]["status"] for name in ("written", "image", "clone", "by actions")}
    assert statuses == {"written": "in-use", "image": "reserved", "clone": "attaching", "by actions": "in-use"}
    assert volumes[made["image"]]["volume_type"] == "gold"
    assert volumes[made["clone"]]["metadata"] == {"k": "v"}
    assert {row["os-vol-host-attr:host"] for row in volumes.values()} == {world.pool()}
    assert client.get("os-quota-sets", "p1")["quota_set"]["snapshots"] == 77
    assert [row["id"] for row in client.get("snapshots")["snapshots"]] == [made["snapshot"]]
    for name in ("written", "clone", "by actions"):
        with world.path(made[name]).open("rb") as file:
            assert file.read(len(WRITTEN)) == WRITTEN, name


def _wait_for_looks(service: ServiceProcess) -> None:
    """Until the exports have surely been looked at: the service has reported twice since now."""
    client, seen = service.client(), set()

    def reported() -> bool:
        seen.add(client.get("os-services")["services"][0]["updated_at"])
        return len(seen) > 2

    wait_until(reported)


def test_exports_by_iscsi_are_repaired_from_its_notes(start_older: Callable[..., ServiceProcess]) -> None:
    """The notes beside an iSCSI target, written by the older version, bring it up again with its name, key and portal."""
    service = start_older(SIMULATED_LIO)
    world = World(service)
    attachment = world.attachment(world.written())
    before_upgrade = _connection(world, attachment)
    _upgrade(service)
    service.settle()
    _wait_for_looks(service)
    service.settle()
    assert _connection(world, attachment) == before_upgrade
    assert service.leftovers() == []
    empty(world)


def _connection(world: World, attachment: str) -> dict[str, Any]:
    found = world.client.get("attachments", attachment)["attachment"]
    return {key: value for key, value in found["connection_info"].items() if key != "attachment_id"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", [COPYING, INSTANT], ids=["copying", "instant"])
@pytest.mark.parametrize("moment", ["after do", "before undo"])
def test_operations_that_it_began_end(
    start_older: Callable[..., ServiceProcess], before: Older, moment: str, backend: Backend
) -> None:
    """Each of its operations, halted after each step or before each undo and killed there, is ended by this version."""
    _begin_and_end(start_older(backend), before, [kind for kind in before.steps if kind not in _ONE_AT_A_TIME], moment)


@pytest.mark.parametrize("kind", _ONE_AT_A_TIME)
def test_what_it_began_to_take_over_or_let_go(
    start_older: Callable[..., ServiceProcess], before: Older, kind: str
) -> None:
    """The same for operations of which a pool has one at a time."""
    _begin_and_end(start_older(INSTANT), before, [kind], "after do")


def _begin_and_end(service: ServiceProcess, before: Older, kinds: list[str], moment: str) -> None:
    world = World(service)
    cases = _cases(before, kinds, moment)
    requests = [prepare(world, case) for case in cases]
    _plan(service).write_text(json.dumps(_points(before, cases)))
    _halt(service, requests)
    _upgrade(service)
    service.settle()
    expected = "succeeded" if moment == "after do" else "failed"
    for id, where in (line.split(maxsplit=1) for line in _halted(service)):
        ended = world.client.get("operations", id)["operation"]
        assert ended["state"] == expected, (where, ended["error"])
    rows = world.client.get("volumes", "detail")["volumes"] + world.client.get("snapshots", "detail")["snapshots"]
    assert {row["status"] for row in rows} <= SETTLED
    _remove_unmanaged(world)
    assert service.leftovers() == []
    empty(world)


# A repair and a list leave nothing behind; the objects to be managed exist only once.
_OTHERS = {
    "attachment.repair": "repair",
    "host.list_manageable": "list",
    "volume.manage": "measure",
    "snapshot.manage": "measure",
}
_VARIANTS = {
    "volume.create": "image",
    "volume.delete": "cascade",
    "volume.extend": "offline",
    "volume.upload": "raw",
    "volume.verify": "compare",
    "volume.detach_all": "reset",
    "attachment.terminate": "legacy",
}


def _cases(before: Older, kinds: list[str], moment: str) -> list[Case]:
    return [
        Case(kind, _VARIANTS.get(kind, "plain"), moment, step)
        for kind in kinds
        for step, has_undo in before.steps[kind]
        if _OTHERS.get(kind) != step and (has_undo or moment == "after do")
    ]


def _points(before: Older, cases: list[Case]) -> dict[str, list[list[str | None]]]:
    """Where each operation halts; those that are to be undone fail after their last step."""
    plan: dict[str, list[list[str | None]]] = {}
    for case in cases:
        last = before.steps[case.kind][-1][0] if case.moment == "before undo" else None
        plan.setdefault(case.kind, []).append([case.moment, case.step, last])
    return plan


def _halt(service: ServiceProcess, requests: list[Callable[[], Any]]) -> None:
    """Send each request, and wait until its operation has halted. Those that wait for its end are answered that it goes on."""
    for number, request in enumerate(requests, 1):
        with contextlib.suppress(errors.BackendUnavailable):
            request()
        wait_until(lambda number=number: len(_halted(service)) == number)  # type: ignore[misc]


def _halted(service: ServiceProcess) -> list[str]:
    path = _plan(service).with_suffix(".halted")
    return path.read_text().splitlines() if path.exists() else []


def _remove_unmanaged(world: World) -> None:
    """What was let go of, or not taken over, is whole and without a mark."""
    for path in world.service.backend.unmarked(world.service.state):
        with path.open("rb") as file:
            assert file.read(len(WRITTEN)) == WRITTEN, path
        world.service.backend.remove(path)
