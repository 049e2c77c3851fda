"""The cases of killing a service at every step, what each starts from, and what must be true after it."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import INITIATOR
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME

PATTERN = 77
LOCAL = {"host": "me", "ip": "127.0.0.1", "initiator": INITIATOR}
FORWARD = ("before do", "after do")
BACKWARD = ("before undo", "after undo")
SETTLED = frozenset(
    "available in-use reserved attaching error error_deleting error_extending error_managing gone".split()
)
WRITTEN = bytes([PATTERN]) * (4 << 20)


@dataclass(frozen=True)
class Case:
    kind: str
    variant: str
    moment: str
    step: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.variant}) {self.moment} {self.step}"


VARIANTS = {
    "volume.create": ("blank", "image", "snapshot", "clone"),
    "volume.delete": ("plain", "cascade"),
    "volume.extend": ("offline", "online"),
    "volume.upload": ("raw", "qcow2"),
    "volume.reimage": ("plain", "reserved"),
    "volume.revert": ("plain",),
    "volume.verify": ("compare", "record"),
    "snapshot.create": ("plain",),
    "snapshot.delete": ("plain",),
    "volume.manage": ("plain",),
    "volume.unmanage": ("plain",),
    "snapshot.manage": ("plain",),
    "snapshot.unmanage": ("plain",),
    "attachment.connect": ("new", "legacy"),
    "attachment.delete": ("new", "legacy"),
    "attachment.terminate": ("legacy",),
    "volume.detach_all": ("reset",),
    "attachment.repair": ("killed",),
}


def forward_cases() -> list[Case]:
    return [
        Case(kind, variant, moment, step.name)
        for kind, variants in VARIANTS.items()
        for variant in variants
        for step in TYPES_BY_NAME[kind].steps
        for moment in FORWARD
    ]


def backward_cases() -> list[Case]:
    """Every undo there is, of an operation that failed after its last step; killed before and after it."""
    return [
        Case(kind, f"faulty {variant}", moment, step.name)
        for kind, variants in VARIANTS.items()
        for variant in variants
        for step in TYPES_BY_NAME[kind].steps
        if step.undo
        for moment in BACKWARD
    ]


class World:
    """What the cases start from: a service with the simulator, a written volume, a snapshot of it, an image."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self._image()

    def _image(self) -> None:
        path = self.service.state / "images" / "base.qcow2"
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"]
        subprocess.run(argv, check=True)
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", f"write -P {PATTERN} 0 4M", str(path)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def client(self) -> Any:
        return self.service.client()

    def volume(self, **fields: Any) -> str:
        made = self.client.post("volumes", body={"volume": {"size": 1, **fields}})["volume"]
        assert self.service.wait_status("volumes", made["id"]) == "available"
        return str(made["id"])

    def written(self) -> str:
        volume = self.volume()
        with self.path(volume).open("r+b") as file:
            file.write(bytes([PATTERN]) * (4 << 20))
        return volume

    def path(self, volume: str) -> Path:
        return self.service.backend.volume(self.service.state, volume)

    def snapshot(self, volume: str) -> str:
        made = self.client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]
        assert self.service.wait_status("snapshots", made["id"]) == "available"
        return str(made["id"])

    def pool(self) -> str:
        return str(self.client.get("scheduler-stats", "get_pools")["pools"][0]["name"])

    def unmanaged(self, of: str | None = None) -> str:
        """A volume that another program made, or a snapshot `of` one of ours; its name."""
        path = self.service.backend.unmanaged(self.service.state, of)
        if of is None or not path.is_block_device():  # a thin snapshot reads as its origin
            with path.open("r+b") as file:
                file.write(WRITTEN)
        return path.name

    def take_back(self, case: Case) -> list[str]:
        """Remove what operations of managing leave by intent: an object without a mark, whole. Returns their names."""
        if not case.kind.endswith("manage"):
            return []
        found = self.service.backend.unmarked(self.service.state)
        for path in found:
            with path.open("rb") as file:
                assert file.read(4 << 20) == WRITTEN, (case, path)
            self.service.backend.remove(path)
        return [path.name for path in found]

    def attachment(self, volume: str) -> str:
        fields = {"volume_uuid": volume, "connector": LOCAL}
        made = self.client.post("attachments", body={"attachment": fields})["attachment"]
        self.client.act("attachments", made["id"], "os-complete")
        return str(made["id"])


def prepare(world: World, case: Case) -> Callable[[], Any]:
    """Make what the case needs; returns the request that will be interrupted."""
    client, kind, variant = world.client, case.kind, case.variant.removeprefix("faulty ")
    if kind == "volume.create":
        return _prepare_create(world, variant)
    if kind == "volume.manage":
        fields = {"host": world.pool(), "ref": {"source-name": world.unmanaged()}}
        return lambda: client.post("os-volume-manage", body={"volume": fields})
    if kind == "volume.verify":
        filled = world.volume(imageRef="base.qcow2")
        return lambda: client.act("volumes", filled, "nbdsvc-verify", {"record": variant == "record"})
    volume = world.written()
    if kind == "volume.unmanage":
        return lambda: client.act("volumes", volume, "os-unmanage")
    if kind == "snapshot.manage":
        of = {"volume_id": volume, "ref": {"source-name": world.unmanaged(volume)}}
        return lambda: client.post("os-snapshot-manage", body={"snapshot": of})
    if kind == "snapshot.unmanage":
        held = world.snapshot(volume)
        return lambda: client.act("snapshots", held, "os-unmanage")
    if kind == "volume.delete":
        if variant == "cascade":
            world.snapshot(volume)
        return lambda: client.delete("volumes", volume, cascade=True)
    if kind == "volume.extend":
        if variant == "online":
            world.attachment(volume)
        return lambda: client.act("volumes", volume, "os-extend", {"new_size": 2})
    if kind == "volume.upload":
        fields = {"image_name": "up", "disk_format": variant}
        return lambda: client.act("volumes", volume, "os-volume_upload_image", fields)
    if kind == "volume.reimage":
        return _prepare_reimage(world, variant, volume)
    if kind == "volume.revert":
        snapshot = world.snapshot(volume)
        return lambda: client.act("volumes", volume, "revert", {"snapshot_id": snapshot})
    if kind.startswith("snapshot."):
        if kind == "snapshot.create":
            return lambda: client.post("snapshots", body={"snapshot": {"volume_id": volume}})
        snapshot = world.snapshot(volume)
        return lambda: client.delete("snapshots", snapshot)
    return _prepare_attachment(world, kind, variant, volume)


def _prepare_reimage(world: World, variant: str, volume: str) -> Callable[[], Any]:
    client = world.client
    if variant == "reserved":
        client.post("attachments", body={"attachment": {"volume_uuid": volume}})
    image = next(each["id"] for each in client.get("images")["images"] if each["name"] == "base.qcow2")
    value = {"image_id": image, "reimage_reserved": variant == "reserved"}
    return lambda: client.act("volumes", volume, "os-reimage", value, "volume 3.68")


def _prepare_create(world: World, variant: str) -> Callable[[], Any]:
    fields: dict[str, Any] = {"size": 1}
    if variant == "image":
        fields["imageRef"] = "base.qcow2"
    elif variant == "snapshot":
        fields["snapshot_id"] = world.snapshot(world.written())
    elif variant == "clone":
        fields["source_volid"] = world.written()
    client = world.client
    return lambda: client.post("volumes", body={"volume": fields})


def _prepare_attachment(world: World, kind: str, variant: str, volume: str) -> Callable[[], Any]:
    client = world.client
    if variant == "legacy" and kind == "attachment.connect":
        return lambda: client.act("volumes", volume, "os-initialize_connection", {"connector": LOCAL})
    if kind == "attachment.connect":
        return lambda: client.post("attachments", body={"attachment": {"volume_uuid": volume, "connector": LOCAL}})
    if variant == "legacy":
        client.act("volumes", volume, "os-initialize_connection", {"connector": LOCAL})
        client.act("volumes", volume, "os-attach", {"host_name": "me", "mountpoint": "/dev/vdb"})
        if kind == "attachment.delete":
            return lambda: client.act("volumes", volume, "os-detach", {})
        return lambda: client.act("volumes", volume, "os-terminate_connection", {"connector": LOCAL})
    attachment = world.attachment(volume)
    if kind == "volume.detach_all":
        fields = {"status": "available", "attach_status": "detached"}
        return lambda: client.act("volumes", volume, "os-reset_status", fields)
    if kind == "attachment.repair":
        return world.service.backend.break_export(world.service.state, volume, attachment)
    return lambda: client.delete("attachments", attachment)


def _asked(request: Callable[[], Any]) -> bool:
    """Whether the service took it, or died before it answered. A repair may be at the volume meanwhile: then once more."""
    try:
        request()
    except errors.Conflict:
        return False
    except errors.Error:
        pass
    return True


def run_case(world: World, case: Case) -> None:
    service = world.service
    request = prepare(world, case)
    fail = TYPES_BY_NAME[case.kind].steps[-1].name if case.moment in BACKWARD else None
    service.crash_at(case.kind, case.moment, case.step, fail)
    wait_until(lambda: _asked(request), 60)
    assert service.wait_dead(), f"the service did not come to {case}"
    service.start()
    service.settle()
    verify(world, case)


def verify(world: World, case: Case) -> None:
    """All rows settled, nothing left over, quotas as the rows say, bytes as written; then everything can be removed."""
    client, service = world.client, world.service
    volumes = client.get("volumes", "detail")["volumes"]
    snapshots = client.get("snapshots", "detail")["snapshots"]
    assert {row["status"] for row in volumes + snapshots} <= SETTLED, (case, volumes, snapshots)
    faulty = case.variant.startswith("faulty")
    left = world.take_back(case)
    assert len(left) == (case.kind.endswith("manage") and (faulty != case.kind.endswith("unmanage"))), (case, left)
    assert not faulty or left in ([], ["unmanaged"]), (case, left)
    assert service.leftovers() == [], case
    # What the simulator of LIO lost with the service is a difference until it is repaired.
    if service.backend.exporter == "lio-memory":
        wait_until(lambda: not service.findings(), 60 * PATIENCE, service.findings)
    assert service.findings() == [], case
    used = client.get("os-quota-sets", "p1", usage="true")["quota_set"]
    assert used["volumes"]["in_use"] == len(volumes)
    assert used["gigabytes"]["in_use"] == sum(row["size"] for row in volumes + snapshots)
    for row in volumes:
        if row["status"] == "available":
            with world.path(row["id"]).open("rb") as file:
                content = file.read(4 << 20)
            assert content in (bytes(4 << 20), WRITTEN), case
            needs_bytes = row["snapshot_id"] or row["source_volid"] or row["bootable"] == "true"
            assert not needs_bytes or content[0] == PATTERN, case
    newest = client.get("operations", kind=case.kind, limit=1, all_tenants=1)["operations"][0]
    # Without a plan any more, the next pool takes what the first one failed at.
    expected = "failed" if faulty and not _goes_on(world, case) else "succeeded"
    assert newest["state"] == expected, (case, newest)
    empty(world)


def _goes_on(world: World, case: Case) -> bool:
    """Whether there is another pool for it: not for what shares blocks with its source."""
    return len(world.service.backend.folders) > 1 and str(case).startswith(
        ("volume.create (faulty blank)", "volume.create (faulty image)")
    )


def empty(world: World) -> None:
    client, service = world.client, world.service
    for row in client.get("attachments")["attachments"]:
        client.delete("attachments", row["id"])
    for row in client.get("volumes", "detail")["volumes"]:
        if row["status"] not in ("available", "error", "error_managing"):
            client.act("volumes", row["id"], "os-reset_status", {"status": "available"})
        client.delete("volumes", row["id"], cascade=True)
    service.settle()
    assert client.get("volumes")["volumes"] == []
    for path in (service.state / "images").glob("*-*"):
        path.unlink()
    left = service.leftovers()
    assert not left, left  # with a message, because pytest rewrites the assertions of test modules only


CASES = forward_cases() + backward_cases()
ATTACHMENT_CASES = [
    case for case in CASES if case.kind in ("volume.detach_all", "volume.extend") or "attach" in case.kind
]
