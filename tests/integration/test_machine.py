"""Any sequence of requests and writes over the real API and real NBD against a model of the bytes, with faults."""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)
from machines import machine_test
from serving import ServiceProcess

from drivers.memory import Faults
from nbdsvc import errors
from nbdsvc.exports.nbd import processes

sys.path.append("/usr/lib/python3/dist-packages")
import nbd

GiB = 1 << 30
LOCAL = {"host": "me", "ip": "127.0.0.1"}
# Writes go to a few places, so that they meet.
PLACES = st.sampled_from([0, 4096, 65536, 1 << 20, GiB - 4096])


class Model:
    """One volume or snapshot as it should be: sparse bytes by place, and its size in GiB.

    most: size of its device at most. An extension that failed may have grown it before, which no reset of a status undoes,
    and a copy has what its source has.
    """

    def __init__(self, size: int, written: dict[int, bytes], most: int = 0) -> None:
        self.size, self.written, self.most = size, dict(written), max(size, most)

    def copy(self, more: int = 0) -> "Model":
        return Model(self.size + more, self.written, self.most)

    def grow(self, size: int) -> None:
        self.size, self.most = size, max(size, self.most)


class ApiMachine(RuleBasedStateMachine):
    """Volumes and snapshots are ids; the model says what they must read as."""

    service: ServiceProcess
    volumes = Bundle("volumes")
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Model] = {}
        self.snapshot_model: dict[str, tuple[str, Model]] = {}
        self.faults = Faults(self.service.state / "pool", "file")
        self._clear()

    def _clear(self) -> None:
        """A run that failed leaves its volumes, and Hypothesis runs it again: without this it would fail by them."""
        for row in self.client.get("attachments")["attachments"]:
            self.client.delete("attachments", row["id"])
        for row in self.client.get("volumes", "detail")["volumes"]:
            self.client.act("volumes", row["id"], "os-reset_status", {"status": "error"})
            self.client.delete("volumes", row["id"], cascade=True)
            self.service.wait_status("volumes", row["id"])

    @property
    def client(self) -> Any:
        return self.service.client()

    @contextmanager
    def attached(self, volume: str, mode: str = "rw") -> Iterator[nbd.NBD]:
        fields = {"volume_uuid": volume, "connector": LOCAL | {"mode": mode}}
        attachment = self.client.post("attachments", body={"attachment": fields})["attachment"]
        connection = nbd.NBD()
        connection.connect_uri(attachment["connection_info"]["uri"])
        yield connection
        connection.shutdown()
        self.client.delete("attachments", attachment["id"])

    def create(self, model: Model, **fields: Any) -> Any:
        made = self.client.post("volumes", body={"volume": {"size": model.size, **fields}})["volume"]["id"]
        if self.service.wait_status("volumes", made) != "available":
            self.client.delete("volumes", made)
            assert self.service.wait_status("volumes", made) == "gone"
            return multiple()
        self.model[made] = model
        return made

    @rule(target=volumes, size=st.integers(1, 2))
    def blank(self, size: int) -> Any:
        return self.create(Model(size, {}))

    @rule(target=volumes, source=volumes, more=st.integers(0, 1))
    def clone(self, source: str, more: int) -> Any:
        if source not in self.model:
            return multiple()
        origin = self.model[source]
        return self.create(origin.copy(more), source_volid=source)

    @rule(target=volumes, snapshot=snapshots)
    def restore(self, snapshot: str) -> Any:
        if snapshot not in self.snapshot_model:
            return multiple()
        origin = self.snapshot_model[snapshot][1]
        return self.create(origin.copy(), snapshot_id=snapshot)

    @rule(target=snapshots, volume=volumes)
    def snapshot(self, volume: str) -> Any:
        if volume not in self.model:
            return multiple()
        made = self.client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
        if self.service.wait_status("snapshots", made) != "available":
            self.client.delete("snapshots", made)
            assert self.service.wait_status("snapshots", made) == "gone"
            return multiple()
        self.snapshot_model[made] = (volume, self.model[volume].copy())
        return made

    @rule(volume=volumes, place=PLACES, value=st.integers(0, 255))
    def write(self, volume: str, place: int, value: int) -> None:
        if volume in self.model:
            with self.attached(volume) as connection:
                connection.pwrite(bytes([value]) * 4096, place)
                connection.flush()
            self.model[volume].written[place] = bytes([value]) * 4096

    @rule(volume=volumes)
    def extend(self, volume: str) -> None:
        if volume in self.model and self.model[volume].size < 4:
            wanted = self.model[volume].size + 1
            self.client.act("volumes", volume, "os-extend", {"new_size": wanted})
            if self.service.wait_status("volumes", volume) == "error_extending":
                self.client.act("volumes", volume, "os-reset_status", {"status": "available"})
                self.model[volume].most = wanted
            else:
                self.model[volume].grow(wanted)

    @rule(snapshot=consumes(snapshots))
    def delete_snapshot(self, snapshot: str) -> None:
        if self.snapshot_model.pop(snapshot, None):
            self.client.delete("snapshots", snapshot)
            if self.service.wait_status("snapshots", snapshot) == "error_deleting":
                self.client.delete("snapshots", snapshot)
                assert self.service.wait_status("snapshots", snapshot) == "gone"

    @rule(volume=consumes(volumes))
    def delete(self, volume: str) -> None:
        if self.model.pop(volume, None):
            self.snapshot_model = {k: v for k, v in self.snapshot_model.items() if v[0] != volume}
            self.client.delete("volumes", volume, cascade=True)
            if self.service.wait_status("volumes", volume) == "error_deleting":
                self.client.act("volumes", volume, "os-reset_status", {"status": "error"})
                for row in self.client.get("snapshots", volume_id=volume)["snapshots"]:
                    self.client.act("snapshots", row["id"], "os-reset_status", {"status": "error"})
                self.client.delete("volumes", volume, cascade=True)
                assert self.service.wait_status("volumes", volume) == "gone"

    @rule(volume=volumes, deletes=st.booleans())
    def race(self, volume: str, deletes: bool) -> None:
        """Several requests on one volume at the same moment: each is done whole or refused."""
        if volume not in self.model:
            return
        self.faults.plan({})  # who meets a fault would depend on who is first

        def attempt(action: Any) -> None:
            try:
                action()
            except errors.RequestError:
                pass

        wanted = self.model[volume].size + 1
        actions = [lambda: self.client.act("volumes", volume, "os-extend", {"new_size": wanted}) for _ in range(2)]
        actions.append(lambda: self.client.act("volumes", volume, "os-reserve"))
        if deletes:
            actions.append(lambda: self.client.delete("volumes", volume, cascade=True))
        threads = [threading.Thread(target=attempt, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.service.settle()
        self._take_stock(volume)

    def _take_stock(self, volume: str) -> None:
        try:
            shown = self.client.get("volumes", volume)["volume"]
        except errors.NotFound:
            self.model.pop(volume)
            self.snapshot_model = {k: v for k, v in self.snapshot_model.items() if v[0] != volume}
            return
        if shown["status"] == "attaching":
            self.client.act("volumes", volume, "os-unreserve")
        elif shown["status"] not in ("available",):
            self.client.act("volumes", volume, "os-reset_status", {"status": "available"})
            for row in self.client.get("snapshots", volume_id=volume)["snapshots"]:
                self.client.act("snapshots", row["id"], "os-reset_status", {"status": "available"})
        self.model[volume].grow(shown["size"])

    @rule(volume=volumes, events=st.lists(st.sampled_from(["kill", "server dies", "wait"]), max_size=3))
    def detach(self, volume: str, events: list[str]) -> None:
        """While an upload of the volume is under way, and whatever happens meanwhile: access ends, and nothing serves it."""
        if volume not in self.model:
            return
        fields = {"volume_uuid": volume, "connector": LOCAL}
        attachment = str(self.client.post("attachments", body={"attachment": fields})["attachment"]["id"])
        self.client.act("attachments", attachment, "os-complete")
        self.client.act("volumes", volume, "os-volume_upload_image", {"image_name": "up", "force": True})
        for event in events:
            if event == "kill":
                self.kill()
            elif event == "wait":
                time.sleep(0.5)  # as long as the interval of repairs
            else:
                processes.end(self.service.state / "exports", attachment)
        self.client.delete("attachments", attachment)
        assert attachment not in processes.serving(self.service.state / "exports")
        self.service.settle()
        assert attachment not in processes.serving(self.service.state / "exports")
        for path in (self.service.state / "images").glob("*-*"):
            path.unlink()

    @rule(
        verb=st.sampled_from(["create_volume", "create_cloned_volume", "create_snapshot", "extend_volume"]),
        when=st.sampled_from(["before", "after"]),
    )
    def fault(self, verb: str, when: str) -> None:
        """The next time, the backend fails."""
        self.faults.plan({verb: [{"error": "CommandFailed", "when": when, "times": 1}]})

    @rule()
    def kill(self) -> None:
        """The service dies and comes back; nothing of the model changes."""
        self.service.kill()
        self.service.start()

    @invariant()
    def nothing_is_left_over(self) -> None:
        self.service.settle()
        assert self.service.leftovers() == []
        rows = self.client.get("volumes", "detail")["volumes"]
        assert {row["id"]: (row["status"], row["size"]) for row in rows} == {
            id: ("available", model.size) for id, model in self.model.items()
        }

    def teardown(self) -> None:
        self.faults.plan({})
        for volume, model in list(self.model.items()):
            with self.attached(volume, "ro") as connection:
                assert model.size * GiB <= connection.get_size() <= model.most * GiB
                for place in (0, 4096, 65536, 1 << 20, GiB - 4096):
                    assert connection.pread(4096, place) == model.written.get(place, bytes(4096))
            self.delete(volume)
        assert self.service.leftovers() == []


def test_api_against_a_model_of_the_bytes() -> None:
    """Whatever is requested, in whatever order, with faults and kills: rows, sizes and bytes are as the model says."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        service = ServiceProcess(Path(folder), driver="memory").start()
        try:
            machine = type("Machine", (ApiMachine,), {"service": service})
            machine_test(machine, settings(max_examples=5, stateful_step_count=16))()
        finally:
            service.stop()
            service.end_exports()
