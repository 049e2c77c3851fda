"""The service under test and what the walk believes of it: volumes, snapshots, who has what attached."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import debian_packages  # noqa: F401 (the next line needs it)
import nbd
from backends import Backend
from serving import ServiceProcess, Shown

from drivers.memory import Faults
from nbdsvc import errors
from walk.disk import Disk

# The hosts: the one that answers requests too, and a second one.
HERE, THERE = "me", "two"
PATIENCE = 30.0
# Of an operation: a revert that compares 3 GiB has taken more than a minute on a machine with other work.
SETTLE_SECONDS = 200.0


@dataclass(frozen=True)
class Store:
    """A backend. folders: of its pools, in the state folder of its host. shares: blocks, so that copies need no time and no
    detach.
    """

    name: str
    folders: tuple[str, ...]
    shares: bool
    simulated: bool = True
    has_ids: bool = False
    host: str = HERE

    @property
    def service(self) -> str:
        """As os-services names it."""
        return f"{self.host}@{self.name}"

    def pool(self, folder: str) -> str:
        """host@backend#pool of one of its folders."""
        return f"{self.service}#{folder.rpartition('/')[2]}"


# One shares blocks, one copies and has objects with ids of its own, one is what ships; each has two pools.
STORES = (
    Store("shares", ("pools/a", "pools/b"), shares=True),
    Store("copies", ("pools/c", "pools/e"), shares=False, has_ids=True),
    Store("files", ("pools/d", "pools/f"), shares=False, simulated=False),
)
# Of the second host, in a world that has one.
AWAY = Store("away", ("pools/g", "pools/h"), shares=True, host=THERE)
_SETTINGS = """
[shares]
driver = 'memory'
options = { instant_clone = true, pools = { a = 'STATE/pools/a', b = 'STATE/pools/b' } }
[copies]
driver = 'memory'
options = { instant_clone = false, provider_ids = true, moves_volumes = false, pools = { c = 'STATE/pools/c', e = 'STATE/pools/e' } }
[files]
driver = 'file'
options = { pools = { d = 'STATE/pools/d', f = 'STATE/pools/f' } }
"""
_SETTINGS_THERE = """
[away]
driver = 'memory'
options = { instant_clone = true, pools = { g = 'STATE/pools/g', h = 'STATE/pools/h' } }
"""
# The types of volumes: what each is placed by, and `many`, whose volumes may be attached several times.
TYPES = {store.name: {"volume_backend_name": store.name} for store in STORES} | {
    "many": {"volume_backend_name": "shares", "multiattach": "<is> True"}
}
# A volume gets this type by a retype, and may then be anywhere.
ANY = "any"
# Where leftovers looks for files by their names; objects with ids of their own are looked for in World.leftovers.
BACKEND = Backend(
    settings={"backends": _SETTINGS}, folders=tuple(f for store in STORES if not store.has_ids for f in store.folders)
)
BACKEND_THERE = Backend(settings={"backends": _SETTINGS_THERE}, folders=AWAY.folders)


class Violation(AssertionError):
    """The product did what it must not."""


@dataclass
class Snapshot:
    """volume: the id of the volume that it was taken of. recorded: see Volume."""

    id: str
    volume: str
    store: Store
    disk: Disk
    name: str = ""
    recorded: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Volume:
    """attached: the attachments and their connections. row: fields of its row that nothing but its own actions change.

    recorded: the service has digests of its bytes, which a copy inherits and a writer makes void.
    """

    id: str
    store: Store
    disk: Disk
    row: dict[str, Any] = field(default_factory=dict)
    attached: dict[str, "Attached"] = field(default_factory=dict)
    readonly: bool = False
    recorded: bool = False

    @property
    def many(self) -> bool:
        return bool(self.row["volume_type"] == "many")


@dataclass
class Attached:
    """uri: where its export is. writes: whether it was given access to write."""

    id: str
    uri: str
    writes: bool
    connection: Any


@dataclass
class World:
    """service: runs. other: the second host's process, if there is one. images: what each must read as. last: the volume that
    the last action was about.

    planned, planned_at: simulated faults, and the step at which they were planned. dies_next: the service, at the next
    operation. cancels_next: the next operation is cancelled; cancelled: one was, in this step. drawn: see Drawing.
    first_seen: rows by their ids, as they were shown at first.
    """

    service: ServiceProcess
    other: ServiceProcess | None = None
    volumes: list[Volume] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    images: dict[str, Disk] = field(default_factory=dict)
    planned: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    planned_at: int = 0
    dies_next: bool = False
    cancels_next: bool = False
    cancelled: bool = False
    last: str = ""
    steps: int = 0
    values: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    first_seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = [Faults(self.folder(store), store.name) for store in self.stores if store.simulated]

    @property
    def stores(self) -> tuple[Store, ...]:
        """The backends of all hosts."""
        return (*STORES, AWAY) if self.other else STORES

    @property
    def types(self) -> dict[str, dict[str, str]]:
        """Those of which volumes are made: each is placed by its type alone."""
        return {**TYPES, AWAY.name: {"volume_backend_name": AWAY.name}} if self.other else TYPES

    def process(self, store: Store) -> ServiceProcess:
        """That of the backend's host."""
        return self.other if self.other and store.host == THERE else self.service

    def state(self, store: Store) -> Path:
        """The state folder of the backend's host."""
        return self.process(store).state

    def folder(self, store: Store) -> Path:
        """Of the backend's first pool."""
        return self.state(store) / store.folders[0]

    @property
    def image_folder(self) -> Path:
        """Of all hosts."""
        return self.service.state / "images"

    @property
    def client(self) -> Any:
        return self.service.client()

    def next_value(self) -> int:
        self.values += 1
        return self.values

    def post(self, noun: str, **fields: Any) -> Any:
        """What was made; noun: volumes, snapshots."""
        single = noun.rstrip("s")
        return self.client.post(noun, body={single: fields})[single]

    def settle(self, noun: str, id: str, *wanted: str) -> bool:
        """Wait for the end; whether it is one of the wanted statuses. Violation for another, unless a fault was planned."""
        found = self.service.wait_status(noun, id, SETTLE_SECONDS)
        if found in wanted:
            return True
        if not self.faulty:
            raise Violation(f"{noun} {id} is {found} and not {' or '.join(wanted)}: {self.why(id)}")
        self.plan({})
        return False

    def why(self, id: str) -> str:
        """The error of the newest operation on something."""
        try:
            return str(self.client.operation_of(id)["error"])
        except errors.Error:
            return "no operation"

    def plan(self, plan: dict[str, list[dict[str, Any]]]) -> None:
        """Simulated faults from now on, in each backend that is simulated."""
        for each in self.faults:
            each.plan(plan)
        self.planned, self.planned_at = plan, self.steps

    @property
    def faulty(self) -> bool:
        """An operation may fail: the backend was made to, or it was cancelled."""
        return self.cancelled or any(fault.get("error") for verb in self.planned.values() for fault in verb)

    def between(self, *, undone: bool = True) -> None:
        """A request was accepted and its operation is under way: the moment at which the service may die.

        Or the operation is cancelled, where the action knows what is left when it was `undone`.
        """
        if self.cancels_next and undone:
            self.cancels_next = False
            self._cancel_newest()
        if self.dies_next:
            self.dies_next = False
            self.restart()

    def _cancel_newest(self) -> None:
        newest = self.client.get("operations", all_tenants=1, sort="created_at:desc", limit=1)["operations"][0]
        with contextlib.suppress(errors.RequestError):  # the operation has ended
            self.client.act("operations", newest["id"], "cancel")
            self.cancelled = True

    def restart(self) -> None:
        """The process of the host that has the volume of the last action."""
        found = [self.process(volume.store) for volume in self.volumes if volume.id == self.last]
        died = found[0] if found else self.service
        died.kill()
        died.start()

    def refused(self, ask: Callable[[], Any]) -> bool:
        try:
            ask()
        except errors.RequestError:
            return True
        return False

    # Attachments

    def attach(self, volume: Volume, *, writes: bool) -> Attached:
        fields = {"volume_uuid": volume.id, "connector": {**local(volume), "mode": "rw" if writes else "ro"}}
        made = self.client.post("attachments", body={"attachment": fields})["attachment"]
        uri = made["connection_info"]["uri"]
        found = Attached(made["id"], uri, writes and not volume.readonly, connect(uri))
        self.client.act("attachments", found.id, "os-complete")
        volume.attached[found.id] = found
        if found.writes:
            volume.recorded = False
        return found

    def detach(self, volume: Volume, attached: Attached) -> None:
        disconnect(attached.connection)
        self.client.delete("attachments", attached.id)
        del volume.attached[attached.id]

    @contextmanager
    def borrowed(self, volume: Volume, *, writes: bool = False) -> Iterator[Attached]:
        """An attachment for a moment: one that is there, or one of its own."""
        there = next((each for each in volume.attached.values() if each.writes >= writes), None)
        found = there or self.attach(volume, writes=writes)
        yield found
        if not there:
            self.detach(volume, found)

    def reconnect(self, volume: Volume) -> None:
        """Every connection anew: of servers that died, once the service has repaired their exports."""
        for each in volume.attached.values():
            disconnect(each.connection)
            each.connection = connect(each.uri)

    # Places of bytes

    def path(self, thing: Volume | Snapshot) -> Path:
        """Its file, past the product; where there is none, the one that it would have in the first pool."""
        kind, folder = ("volume-", "volumes") if isinstance(thing, Volume) else ("_snapshot-", "snapshots")
        name = kind + self._own_id(thing)
        paths = [self.state(thing.store) / pool / folder / name for pool in thing.store.folders]
        return next((path for path in paths if path.exists()), paths[0])

    def _own_id(self, thing: Volume | Snapshot) -> str:
        note = self.folder(thing.store) / "provider-ids" / thing.id
        return note.read_text() if thing.store.has_ids and note.exists() else thing.id

    def leftovers(self, shown: Shown) -> list[str]:
        owned = {self.path(thing) for thing in [*self.volumes, *self.snapshots]}
        pools = [self.state(store) / pool for store in self.stores if store.has_ids for pool in store.folders]
        found = {
            path for pool in pools for folder in ("volumes", "snapshots", "new") for path in (pool / folder).iterdir()
        }
        there = [f"{THERE}: {each}" for each in self.other.leftovers(shown)] if self.other else []
        return self.service.leftovers(shown) + there + self._elsewhere() + [str(path) for path in found - owned]

    def _elsewhere(self) -> list[str]:
        """Objects of the model's own volumes and snapshots that are where they were, or are not yet."""
        paths = [
            path
            for store in self.stores
            for pool in store.folders
            for path in (self.state(store) / pool).glob("[vs]*s/*")
        ]
        owned = {self.path(thing) for thing in [*self.volumes, *self.snapshots]}
        ids = [self._own_id(thing) for thing in [*self.volumes, *self.snapshots]]
        return [str(path) for path in paths if path not in owned and any(path.name.endswith(id) for id in ids)]


def local(volume: Volume) -> dict[str, str]:
    """The connector of a program on the volume's own host."""
    return {"host": volume.store.host, "ip": "127.0.0.1"}


def connect(uri: str) -> nbd.NBD:
    """A connection that knows what is allocated. Violation where nothing serves it for a long time."""
    end = time.monotonic() + PATIENCE
    while True:
        connection = nbd.NBD()
        connection.add_meta_context("base:allocation")
        try:
            connection.connect_uri(uri)
            return connection
        except nbd.Error as error:
            if time.monotonic() > end:
                raise Violation(f"nothing serves {uri}: {error}") from error
            time.sleep(0.1)


def disconnect(connection: nbd.NBD) -> None:
    """Orderly, where its server is still there."""
    with contextlib.suppress(nbd.Error):
        connection.shutdown()


def prepare(world: World) -> World:
    """The volume types, once for a service."""
    for name, specs in {**world.types, ANY: {}}.items():
        made = world.client.post("types", body={"volume_type": {"name": name}})["volume_type"]["id"]
        if specs:
            world.client.post("types", made, "extra_specs", body={"extra_specs": specs})
    return world
