"""The cases of killing a service while it moves a volume, and what must be true after each."""

from typing import Any

from backends import Backend
from killing import BACKWARD, FORWARD, WRITTEN, World
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME
from nbdsvc.store import promises
from nbdsvc.store.database import Database

GIB = 1 << 30
# The second one copies between backends, and its objects have ids of their own making.
ONE_BACKEND = Backend(
    settings={"driver": "memory", "driver_options": "pools = { a = 'STATE/pool', b = 'STATE/other' }"},
    folders=("pool", "other"),
)
TWO_BACKENDS = Backend(
    settings={
        "backends": "one = { driver = 'memory', options = { pool = 'STATE/pool' } }, "
        "two = { driver = 'file', options = { pool = 'STATE/other' } }"
    },
    folders=("pool", "other"),
)
KINDS = ("volume.migrate", "volume.retype")


class MoveCase:
    """fail: the step after which the operation fails; None: it does not. forced: by a copy, where the driver could move it."""

    def __init__(self, kind: str, moment: str, step: str, fail: str | None, *, forced: bool) -> None:
        self.kind, self.moment, self.step, self.fail, self.forced = kind, moment, step, fail, forced

    def __str__(self) -> str:
        failing = f", which fails after {self.fail}" if self.fail else ""
        return f"{self.kind}{' forced' if self.forced else ''}{failing}, {self.moment} {self.step}"

    @property
    def is_undone(self) -> bool:
        return self.fail is not None and _index(self.kind, self.fail) < _index(self.kind, "switch")


def _index(kind: str, step: str) -> int:
    return [each.name for each in TYPES_BY_NAME[kind].steps].index(step)


def cases(*, copied: bool) -> list[MoveCase]:
    """Every boundary of every step and every undo. copied: no driver moves the volume, or it is not let."""
    found = []
    for kind in KINDS:
        steps = [each.name for each in TYPES_BY_NAME[kind].steps]
        forced = copied and kind == "volume.migrate"
        found += [MoveCase(kind, moment, step, None, forced=forced) for step in steps for moment in FORWARD]
        for fail in ("copy", "finish") if copied else ("move",):
            undone = steps[: steps.index(fail) + 1]
            found += [MoveCase(kind, moment, step, fail, forced=forced) for step in undone for moment in BACKWARD]
    return found


class MovingWorld(World):
    """A service with two pools, and what a case starts from."""

    def __init__(self, service: ServiceProcess) -> None:
        super().__init__(service)
        pools = self.client.get("scheduler-stats", "get_pools")["pools"]
        self.pools = sorted(str(pool["name"]) for pool in pools)
        for pool in self.pools:
            specs = {"pool_name": pool.partition("#")[2]}
            self.client.post("types", body={"volume_type": {"name": pool, "extra_specs": specs}})

    def row(self, id: str) -> dict[str, Any]:
        return dict(self.client.get("volumes", id)["volume"])

    def where(self, id: str) -> str:
        return str(self.row(id)["os-vol-host-attr:host"])

    def promised(self) -> dict[str, int]:
        """Bytes promised in each pool."""
        database = Database(str(self.service.settings.get("database", self.service.state / "nbdsvc.db")))
        try:
            with database.read() as conn:
                sums = promises.by_pool(conn)
        finally:
            database.close()
        return {f"{host}@{backend}#{pool}": total for (host, backend, pool), total in sums.items()}


def run_case(world: MovingWorld, case: MoveCase) -> None:
    """Move a volume, die where the case says, start again; then all is settled, whole, in one place and counted once."""
    service, id = world.service, world.written()
    source = world.where(id)
    (destination,) = (pool for pool in world.pools if pool != source)
    before = world.row(id)["volume_type"]
    service.crash_at(case.kind, case.moment, case.step, case.fail)
    try:
        _request(world, case, id, destination)
    except errors.Error:
        pass  # the service died before it replied
    assert service.wait_dead(), f"the service did not come to {case}"
    service.start()
    service.settle()
    _verify(world, case, id, source if case.is_undone else destination, before)
    world.client.delete("volumes", id)
    assert service.wait_status("volumes", id) == "gone"
    assert service.leftovers() == [], case


def _request(world: MovingWorld, case: MoveCase, id: str, destination: str) -> None:
    if case.kind == "volume.migrate":
        body = {"host": destination, "force_host_copy": case.forced, "lock_volume": True}
        world.client.act("volumes", id, "os-migrate_volume", body)
    else:
        world.client.act("volumes", id, "os-retype", {"new_type": destination, "migration_policy": "on-demand"})


def _verify(world: MovingWorld, case: MoveCase, id: str, place: str, type_before: str) -> None:
    ended = "error" if case.is_undone else "success"
    wait_until(
        lambda: world.row(id)["os-vol-mig-status-attr:migstat"] == ended, facts=lambda: (str(case), world.row(id))
    )
    world.service.settle()
    row = world.row(id)
    assert (row["status"], row["os-vol-host-attr:host"]) == ("available", place), (str(case), row)
    retyped = case.kind == "volume.retype" and not case.is_undone
    assert row["volume_type"] == (place if retyped else type_before), (str(case), row)
    wait_until(lambda: not world.service.leftovers(), facts=lambda: (str(case), world.service.leftovers()))
    objects = [each for pool in world.service.backend.folders for each in (world.service.state / pool).rglob(f"*{id}*")]
    assert len(objects) == 1, (str(case), objects)
    with objects[0].open("rb") as file:
        assert file.read(len(WRITTEN) + 4096) == WRITTEN + bytes(4096), str(case)
    assert objects[0].stat().st_size == GIB
    assert world.promised() == {place: GIB}, str(case)
    used = world.client.get("os-quota-sets", "p1", usage="true")["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"]) == (1, 1), str(case)
    (newest,) = world.client.get("operations", kind=case.kind, limit=1, all_tenants=1)["operations"]
    assert newest["state"] == ("failed" if case.fail else "succeeded"), (str(case), newest)
