"""The hosts, the service, and the machine's model of them: volumes, snapshots and attachments."""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from rig.agent import Agent
from rig.machine.oracle import Disk
from rig.product import READY_SECONDS, Refused, Service
from rig.storage import GROUP, SHELF

# Seconds after which every request has succeeded or failed, also under faults.
SETTLE_SECONDS = 300.0
POLL_SECONDS = 0.2
PASSING = ("creating", "deleting", "extending", "reverting", "attaching", "detaching", "reserved", "downloading",
           "uploading", "retyping", "maintenance", "restoring-backup", "unmanaging")  # fmt: skip


class Violation(AssertionError):
    """The product broke an invariant."""


# The backends, and their groups; a volume that names no type is on the first.
BACKENDS = {"lvm": GROUP, "shelf": SHELF}
# The types, and the backends that meet them; the first is the default one.
TYPES = {"__DEFAULT__": ("lvm",), "shelf": ("shelf",), "any": ("lvm", "shelf")}


@dataclass
class Volume:
    """A volume. backend, type: see BACKENDS and TYPES. host, device: where it is attached. pending: its creation was
    requested, and its end not awaited.
    """

    id: str
    disk: Disk
    backend: str = "lvm"
    type: str = "__DEFAULT__"
    host: str | None = None
    device: str = ""
    read_only: bool = False
    pending: bool = False


@dataclass
class Snapshot:
    """A snapshot, as the model knows it."""

    id: str
    volume: str
    disk: Disk
    pending: bool = False


Thing = Volume | Snapshot


@dataclass
class Counts:
    """The numbers of a run, for the end of its report."""

    steps: int = 0
    faults: int = 0
    volumes: int = 0
    verified: int = 0  # bytes
    skipped: int = 0


class Transport(Protocol):
    """How hosts get their volumes, see transports.py.

    name: of its exporter in the settings. settings: the service's, which listens on `address`. without: faults that test
    nothing over this transport. mirrors: whether a volume in use can go to another backend.
    """

    name: str
    without: frozenset[str]
    mirrors: bool

    def settings(self, address: str) -> dict[str, str]: ...

    def prepare(self, agent: Agent) -> None:
        """Start the host's daemons; also called after a power cut of the host."""

    def clear(self, agent: Agent) -> None:
        """Remove every device and session from the host. HostFailed where one cannot be removed."""

    def attach(self, world: "World", host: str, volume: str, mode: str) -> str:
        """Attach the volume; the device. Refused or HostFailed where that fails."""

    def detach(self, world: "World", host: str, volume: str, *, lost: bool = False) -> None:
        """Detach the volume. lost: a flush has failed, and unflushed writes are given up."""

    def grow(self, world: "World", host: str) -> None:
        """Let the host read the sizes of its devices again."""

    def wrong_exports(self, world: "World") -> list[str]:
        """Objects of the storage host without a row, and rows without an object."""

    def devices(self, agent: Agent) -> set[str]:
        """All devices of this transport on a host, also those without an owner."""


@dataclass
class World:
    """The world of a run. agents: all hosts'. backend: settings of the service under test. transport: how hosts get
    volumes. last: the id of the volume that was picked last.
    """

    agents: dict[str, Agent]
    transport: Transport
    backend: dict[str, Any]
    hosts: list[str]
    volumes: list[Volume] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    # Deletions that were requested: (noun, id).
    deleting: list[tuple[str, str]] = field(default_factory=list)
    last: str = ""
    _values: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.storage = self.agents["storage"]
        self.service = Service(self.storage, lasting=True, **self.backend)

    def next_value(self) -> int:
        """A value that no other block has, so that it identifies the write."""
        return next(self._values)

    @property
    def things(self) -> list[Thing]:
        """All volumes and snapshots of the model."""
        return [*self.volumes, *self.snapshots]

    # The API, while the service may be away

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """As Service.call, but waits while the service is away. Refused; Violation when it stays away."""
        # A GET may be repeated after any failure; a change only if it cannot have reached the service.
        again = OSError if method == "GET" else ConnectionRefusedError
        return self.patiently(lambda: self.service.call(method, path, body), again)

    def act(self, noun: str, id: str, action: str, body: Any = None) -> Any:
        """Request an action on a resource; see `call`."""
        return self.call("POST", f"{noun}/{id}/action", {action: body or {}})

    def patiently(self, ask: Callable[[], Any], again: type[OSError] = ConnectionRefusedError) -> Any:
        """Repeat the request while the service is away. Violation where it stays away too long."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                return ask()
            except again:
                if time.monotonic() > end:
                    raise Violation(f"the service is not back after {READY_SECONDS} s: {self.service.log()}") from None
                time.sleep(POLL_SECONDS)

    def settle(self, noun: str, id: str, *wanted: str) -> str:
        """Wait until the row is in no transient state; Violation when it stays in one, or ends in another than wanted."""
        end = time.monotonic() + SETTLE_SECONDS
        while (found := self._status(noun, id)) in PASSING and found not in wanted:
            if time.monotonic() > end:
                raise Violation(f"{noun} {id} is {found} since {SETTLE_SECONDS} s: {self.operations(id)}")
            time.sleep(POLL_SECONDS)
        if wanted and found not in wanted:
            raise Violation(f"{noun} {id} is {found} and not {' or '.join(wanted)}: {self.operations(id)}")
        return found

    def _status(self, noun: str, id: str) -> str:
        return str(self.patiently(lambda: self.service.status(noun, id), OSError))

    def operations(self, id: str) -> str:
        """The service's messages on the operations of a resource, for a violation's text."""
        try:
            return json.dumps(self.call("GET", f"messages?resource_uuid={id}")["messages"])[:600]
        except (Refused, KeyError):
            return "no message"
