"""Group snapshots on LVM, of volumes that real iSCSI initiators on two hosts write to in an order."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rig.agent import Agent
from rig.iscsi import Disk, OpenIscsi
from rig.ordered_writes import OrderedWrites, numbers_in, of_one_moment
from rig.product import Service

# Group snapshots with writers held, and rounds of snapshots without (docs/rig.md has a long run).
TAKEN = int(os.environ.get("RIG_GROUP_SNAPSHOTS", "2"))
CONSISTENT = {"consistent_group_snapshot_enabled": "<is> True"}


class Group:
    """A group of three volumes that two initiators write to."""

    def __init__(self, service: Service, agents: dict[str, Agent], lvm_group: str) -> None:
        self.service, self.storage, self._lvm_group = service, agents["storage"], lvm_group
        kind = service.call("POST", "group_types", {"group_type": {"name": "one moment", "group_specs": CONSISTENT}})
        body = {"group": {"group_type": kind["group_type"]["id"], "volume_types": ["__DEFAULT__"]}}
        self.id = service.call("POST", "groups", body)["group"]["id"]
        service.settled("groups", self.id, "available")
        self.volumes = [service.volume(group_id=self.id) for _ in range(3)]
        initiators = [OpenIscsi(agents[name], service) for name in ("hyper1", "hyper1", "hyper2")]
        # Patient: a writer waits while LVs are suspended, and while the service is killed.
        self._disks: list[tuple[OpenIscsi, Disk]] = [
            (initiator, initiator.attach(volume, patience=300))
            for initiator, volume in zip(initiators, self.volumes, strict=True)
        ]
        first, second, third = (disk.device for _, disk in self._disks)
        self.writes = OrderedWrites(agents["hyper1"], (first, second), agents["hyper2"], third)

    def snapshot(self) -> str:
        """The id of a new group snapshot, which is still to be made."""
        body = {"group_snapshot": {"group_id": self.id}}
        return str(self.service.call("POST", "group_snapshots", body)["group_snapshot"]["id"])

    def snapshots_of(self, whole: str) -> list[str]:
        found = self.service.call("GET", "snapshots/detail")["snapshots"]
        rows = {each["volume_id"]: each["id"] for each in found if each["group_snapshot_id"] == whole}
        return [rows[volume] for volume in self.volumes]

    def numbers(self, snapshots: list[str]) -> list[int]:
        return numbers_in(self.storage, [f"/dev/{self._lvm_group}/_snapshot-{each}" for each in snapshots])

    def operation(self) -> dict[str, Any]:
        found = self.service.call("GET", "operations?kind=group_snapshot.create&limit=1")["operations"]
        return dict(found[0])

    def held(self) -> str:
        return str(self.operation()["progress"]["text"])

    def end(self) -> None:
        self.writes.stop()
        for initiator, disk in self._disks:
            initiator.detach(disk)
        self.service.act("groups", self.id, "delete", {"delete-volumes": True})
        self.service.settled("groups", self.id, "gone")


@pytest.fixture
def written(make_iscsi: Callable[..., Service], agents: dict[str, Agent], group: str) -> Iterator[Group]:
    made = Group(make_iscsi(), agents, group)
    yield made
    made.end()


@pytest.mark.ci
@pytest.mark.timeout(7200)
@pytest.mark.row("S021", "S041", "S108")
def test_group_snapshots_are_of_one_moment(written: Group) -> None:
    """By iSCSI, which has no gates: LVM suspends the volumes together. None is inconsistent, and no writer sees an error,
    also where all processes of the service are killed while the volumes are suspended: the next start resumes them.
    """
    bad = []
    for at in range(TAKEN):
        whole = written.snapshot()
        written.service.settled("group_snapshots", whole, "available", 180)
        numbers = written.numbers(written.snapshots_of(whole))
        bad += [] if of_one_moment(numbers) else [numbers]
        print(f"{at + 1}: writes {numbers}; {written.held()}", flush=True)
        written.writes.go_on()
        written.service.delete("group_snapshots", whole)
    assert bad == []
    print(f"{TAKEN} group snapshots, {len(bad)} inconsistent; the longest write took {written.writes.worst()} ms")
    _kill_while_suspended(written)


def _kill_while_suspended(written: Group) -> None:
    """The snapshots are taken anew, of a later moment."""
    whole = written.snapshot()
    suspended = "dmsetup info -c --noheadings -o name,suspended | grep -q -i ':Suspended$'"
    end = time.monotonic() + 120
    while written.storage.run("sh", "-c", suspended, check=False).rc and time.monotonic() < end:
        time.sleep(0.02)
    written.service.kill()
    was_suspended = written.storage.run("sh", "-c", suspended, check=False).rc == 0
    written.service.start()
    written.service.settled("group_snapshots", whole, "available", 180)
    numbers = written.numbers(written.snapshots_of(whole))
    assert of_one_moment(numbers), numbers
    written.writes.go_on()
    print(f"killed with volumes suspended: {was_suspended}; {written.held()}")
    written.service.delete("group_snapshots", whole)


@pytest.mark.timeout(3600)
def test_snapshots_one_after_the_other_are_not(written: Group) -> None:
    """The oracle can fail: the same volumes and writers, and a snapshot of each volume by itself."""
    bad, rounds = 0, max(TAKEN // 10, 2)
    for _ in range(rounds):
        snapshots = [written.service.snapshot(volume) for volume in written.volumes]
        numbers = written.numbers(snapshots)
        bad += not of_one_moment(numbers)
        print(f"writes {numbers}", flush=True)
        for each in snapshots:
            written.service.delete("snapshots", each)
    print(f"{rounds} rounds without a hold, {bad} inconsistent")
    assert bad
