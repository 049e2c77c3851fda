"""A client that uses volumes of its own project at random, and knows what each of them must have.

It sends each request once, to any API process, and goes on after whatever answer. What was confirmed must be true at the
end; what was not may be true or not, but never half of it. The bytes of a volume are `BLOCKS` blocks of one value each.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nbd_client
from fleet import Fleet, Member
from serving import PATIENCE

from nbdsvc import errors

BLOCK, BLOCKS = 64 << 10, 16
IMAGE = "base.raw"
PLAIN = "plain"
Values = tuple[frozenset[int], ...]
BLANK: Values = (frozenset({0}),) * BLOCKS
OF_IMAGE: Values = tuple(frozenset({200 + number}) for number in range(BLOCKS))
# A child of a volume is made within seconds, unless its host is down: then its source is not written any more.
CHILD_SECONDS = 20 * PATIENCE
# What an answer says that is none of the API's, or that blames the service itself.
WRONG = ("Internal error", "as the API never does", "not the JSON of the API", "its answer has no")


@dataclass
class Known:
    """What a volume or a snapshot of this name is. made: whether its creation was confirmed; gone: its deletion too."""

    values: Values
    sizes: set[int]
    made: bool = False
    doomed: bool = False
    gone: bool = False
    held: bool = False
    """A child of it may be being made still: it is not written."""
    is_mended: bool = False
    """An administrator has put it right after the loss of a host, which may have left its object larger than its row says."""
    past: Values = BLANK
    """All that its blocks ever were: what a copy at another site may have."""


@dataclass
class Counts:
    sent: int = 0
    done: int = 0
    refused: int = 0
    unavailable: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)


class Owner:
    """One project's client. type: of the volumes that it makes anew."""

    type = PLAIN

    def __init__(self, fleet: Fleet, seed: int, most: int = 6) -> None:
        self.thread = threading.Thread(target=self._run, name=f"owner-{seed}", daemon=True)
        self.project = f"{type(self).__name__.lower()}{seed}"
        self.volumes: dict[str, Known] = {}
        self.snapshots: dict[str, Known] = {}
        self.wrong: list[str] = []
        self.counts = Counts()
        self.ended = threading.Event()
        self._fleet, self._dice, self._most = fleet, random.Random(seed), most
        self._number = 0
        self._writing = threading.Lock()

    @property
    def client(self) -> Any:
        return self._fleet.client(self.project)

    def deeds(self) -> list[Callable[[], None]]:
        """What it draws from."""
        return [
            self._create, self._create, self._write, self._write, self._write, self._snapshot, self._delete_snapshot,
            self._attach, self._detach, self._extend, self._migrate, self._migrate, self._remove, self._retype, self._revert,
        ]  # fmt: skip

    def _run(self) -> None:
        deeds = self.deeds()
        while not self.ended.is_set():
            deed = self._dice.choice(deeds) if len(self.volumes) > 3 else self._create
            self.counts.sent += 1
            try:
                deed()
                self.counts.done += 1
                self.counts.by_kind[deed.__name__] = self.counts.by_kind.get(deed.__name__, 0) + 1
            except (errors.Error, OSError) as error:
                self._note(error)
                time.sleep(0.2 if isinstance(error, OSError | errors.BackendUnavailable) else 0.05)
            except Exception as error:
                self.wrong.append(repr(error))

    def _note(self, error: Exception) -> None:
        away = isinstance(error, OSError | errors.BackendUnavailable)
        self.counts.unavailable += away
        self.counts.refused += not away
        if any(words in str(error) for words in WRONG):
            self.wrong.append(str(error))

    def _name(self) -> str:
        self._number += 1
        return f"{self.project}-{self._number}"

    def _pick(self, noun: str = "volumes", *statuses: str) -> dict[str, Any]:
        """A row of ours; NotFound where there is none."""
        rows = self.client.get(noun, "detail")[noun]
        found = [row for row in rows if not statuses or row["status"] in statuses]
        if not found:
            raise errors.NotFound(resource=noun, id="any")
        return dict(self._dice.choice(found))

    def _create(self) -> None:
        if len(self.client.get("volumes")["volumes"]) >= self._most:
            self._remove()
            return
        kind = self._dice.choice(("blank", "image", "clone", "snapshot"))
        name, body, values, source = self._name(), {"volume_type": self.type}, BLANK, None
        if kind == "image":
            body, values = {**body, "imageRef": IMAGE}, OF_IMAGE
        elif kind == "clone":
            row = self._pick("volumes", "available", "in-use")
            source = self.volumes[row["name"]]
            body, values = {"source_volid": row["id"], "size": row["size"]}, source.values
        elif kind == "snapshot":
            row = self._pick("snapshots", "available")
            body, values = {"snapshot_id": row["id"], "size": row["size"]}, self.snapshots[row["name"]].values
        self.volumes[name] = made = Known(values, {int(str(body.get("size", 1)))}, past=values)
        self._make("volumes", {"volume": {"size": 1, "name": name, **body}}, made, source)

    def _snapshot(self) -> None:
        row, name = self._pick("volumes", "available", "in-use"), self._name()
        source = self.volumes[row["name"]]
        self.snapshots[name] = made = Known(source.values, {int(row["size"])})
        fields = {"volume_id": row["id"], "name": name, "force": True}
        self._make("snapshots", {"snapshot": fields}, made, source)

    def _make(self, noun: str, body: Any, made: Known, source: Known | None) -> None:
        """Send it; its source is not written until it is made."""
        if source:
            source.held = True
        try:
            id = self.client.post(noun, body=body)[noun.rstrip("s")]["id"]
        except (errors.Conflict, errors.RequestError):
            if source:
                source.held = False
            raise
        made.made = True
        end = time.monotonic() + CHILD_SECONDS
        while source and source.held and time.monotonic() < end and not self.ended.is_set():
            source.held = self.client.get(noun, id)[noun.rstrip("s")]["status"] == "creating"
            time.sleep(0.02)

    def _write(self) -> None:
        """Attach, write some blocks by the export, detach."""
        row = self._pick("volumes", "available")
        known = self.volumes[row["name"]]
        if known.held:
            return
        attachment = self._attached(row)
        try:
            self._write_by(attachment, row, known)
        finally:
            self.client.delete("attachments", attachment)

    def _attached(self, row: dict[str, Any]) -> str:
        """By a program on the volume's own host."""
        connector = {"host": row["os-vol-host-attr:host"].partition("@")[0], "ip": "127.0.0.1"}
        made = self.client.post("attachments", body={"attachment": {"volume_uuid": row["id"], "connector": connector}})
        return str(made["attachment"]["id"])

    def _write_by(self, attachment: str, row: dict[str, Any], known: Known) -> None:
        host = self._fleet.hosts[self._place(row["id"]).partition("@")[0]]
        with nbd_client.connected(host.state / "exports" / attachment / "nbd.sock") as export:
            for _ in range(self._dice.randint(1, 4)):
                number, value = self._dice.randrange(BLOCKS), self._dice.randint(1, 199)
                self._set(known, number, known.values[number] | {value})
                nbd_client.write(export, number * BLOCK, bytes([value]) * BLOCK)
                self._set(known, number, frozenset({value}))

    def _place(self, id: str) -> str:
        return str(self.client.get("volumes", id)["volume"]["os-vol-host-attr:host"])

    def _set(self, known: Known, number: int, values: frozenset[int]) -> None:
        with self._writing:
            known.values = (*known.values[:number], values, *known.values[number + 1 :])
            past = known.past[number] | values
            known.past = (*known.past[:number], past, *known.past[number + 1 :])

    def fall_back(self) -> None:
        """Each block of each volume may be again what it once was: another site has an older copy."""
        with self._writing:
            for known in self.volumes.values():
                known.values = known.past

    def _attach(self) -> None:
        self._attached(self._pick("volumes", "available"))

    def _detach(self) -> None:
        rows = self.client.get("attachments")["attachments"]
        if rows:
            self.client.delete("attachments", self._dice.choice(rows)["id"])

    def _extend(self) -> None:
        row = self._pick("volumes", "available", "in-use")
        known, wanted = self.volumes[row["name"]], int(row["size"]) + 1
        if wanted > 4 or known.held:
            return
        known.sizes.add(wanted)
        self.client.act("volumes", row["id"], "os-extend", {"new_size": wanted})

    def _migrate(self) -> None:
        row = self._pick("volumes", "available", "in-use")
        pools = self.client.get("scheduler-stats", "get_pools")["pools"]
        body = {"host": self._dice.choice(pools)["name"], "lock_volume": self._dice.random() < 0.7}
        body["force_host_copy"] = self._dice.random() < 0.5
        self.client.act("volumes", row["id"], "os-migrate_volume", body)

    def _retype(self) -> None:
        row = self._pick("volumes", "available")
        types = [each["name"] for each in self.client.get("types")["volume_types"] if each["name"].startswith("pool-")]
        body = {"new_type": self._dice.choice(types), "migration_policy": "on-demand"}
        self.client.act("volumes", row["id"], "os-retype", body)

    def _revert(self) -> None:
        """To the newest snapshot: the volume then has its bytes."""
        row = self._pick("volumes", "available")
        newest = self.client.get("snapshots", "detail", volume_id=row["id"], sort="created_at:desc", limit=1)[
            "snapshots"
        ]
        known = self.volumes[row["name"]]
        if not newest or known.held:
            return
        before, then = known.values, self.snapshots[newest[0]["name"]].values
        known.values = tuple(one | other for one, other in zip(before, then, strict=True))
        known.held = True  # its bytes are not known until the end of the copy
        try:
            self.client.act("volumes", row["id"], "revert", {"snapshot_id": newest[0]["id"]})
        except (errors.Conflict, errors.RequestError):
            known.values, known.held = before, False
            raise
        end = time.monotonic() + CHILD_SECONDS
        while time.monotonic() < end and not self.ended.is_set():
            status = self.client.get("volumes", row["id"])["volume"]["status"]
            if status != "reverting":
                known.held, known.values = False, then if status == "available" else known.values
                return
            time.sleep(0.02)

    def _remove(self) -> None:
        row = self._pick("volumes")
        known = self.volumes[row["name"]]
        known.doomed = True
        held = [each["name"] for each in self.client.get("snapshots", "detail", volume_id=row["id"])["snapshots"]]
        for name in held:
            self.snapshots[name].doomed = True
        self.client.delete("volumes", row["id"], cascade=True)
        known.gone = True

    def _delete_snapshot(self) -> None:
        row = self._pick("snapshots")
        known = self.snapshots[row["name"]]
        known.doomed = True
        self.client.delete("snapshots", row["id"])
        known.gone = True


def block_values(host: Member, name: str) -> list[int | None]:
    """The value of each block of that object; None for one that has several."""
    with host.objects()[name].open("rb") as file:
        blocks = [file.read(BLOCK) for _ in range(BLOCKS)]
    return [block[0] if block == block[:1] * BLOCK else None for block in blocks]
