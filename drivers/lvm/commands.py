"""Every LVM command of this driver: arguments, retries, and what its complaints mean. Nobody else runs one.

LVM serialises changes of a volume group by its own lock; a hung command is ended after COMMAND_SECONDS and a crashed one
(SIGSEGV has been seen in the field: LP 1901783) is tried again, because each of them is one commit of metadata or none.
"""

from collections.abc import Sequence
from pathlib import Path

from drivers.lvm import facts
from nbdsvc import errors, process

# A healthy command takes a fraction of a second; beyond this a disk is hanging and so would we.
COMMAND_SECONDS = 60.0
# Complaints that no repetition changes.
_FINAL = ("Failed to find", "not found", "already exists", "insufficient", "in use", "contains a filesystem", "Insufficient",
          "matches existing size", "lower than", "is used by")  # fmt: skip


class Commands:
    """LVM on one volume group."""

    def __init__(self, group: str, backend: str, runner: process.Runner) -> None:
        self.group = group
        self._backend = backend
        self._runner = runner

    def group_facts(self) -> facts.VolumeGroup | None:
        """The group; None where there is none."""
        argv = ["vgs", *_REPORT, "-o", facts.VG_FIELDS, self.group]
        try:
            return facts.volume_groups(self._run(argv))[0]
        except errors.CommandFailed as error:
            if "not found" in error.stderr:
                return None
            raise

    def list(self) -> "list[facts.LogicalVolume]":
        """All visible LVs of the group, with one command."""
        return facts.logical_volumes(self._run(["lvs", *_REPORT, "-o", facts.LV_FIELDS, self.group]))

    def find(self, name: str) -> facts.LogicalVolume | None:
        """The LV; None where there is no such LV, or no such group."""
        try:
            found = facts.logical_volumes(self._run(["lvs", *_REPORT, "-o", facts.LV_FIELDS, f"{self.group}/{name}"]))
        except errors.CommandFailed as error:
            if "Failed to find logical volume" in error.stderr or "not found" in error.stderr:
                return None
            raise
        return found[0] if found else None

    def make_pool(self, name: str, percent: int) -> None:
        """A thin pool of so much of what is free. It zeroes new blocks: a volume never shows its predecessor's bytes."""
        self._run(["lvcreate", "--yes", "--type", "thin-pool", "--zero", "y", "--extents", f"{percent}%FREE", "--name",
                   name, self.group])  # fmt: skip
        # lvcreate refuses the option for pools. A full pool is to fail at once: by default its writers hang a minute.
        self._run(["lvchange", "--errorwhenfull", "y", f"{self.group}/{name}"])

    def make_thin(self, name: str, pool: str, size: int, owner: str) -> None:
        self._run(["lvcreate", "--yes", "--wipesignatures", "n", "--thin", "--virtualsize", f"{size}b", "--name", name,
                   "--addtag", facts.OWNER + owner, f"{self.group}/{pool}"])  # fmt: skip

    def make_snapshot(self, name: str, origin: str, owner: str) -> None:
        """A thin snapshot, active and without the flag that keeps snapshots from being activated."""
        self._run(["lvcreate", "--yes", "--snapshot", "--setactivationskip", "n", "--name", name, "--addtag",
                   facts.OWNER + owner, f"{self.group}/{origin}"])  # fmt: skip

    def extend(self, name: str, size: int) -> None:
        self._run(["lvextend", "--size", f"{size}b", f"{self.group}/{name}"])

    def rename(self, name: str, new_name: str) -> None:
        self._run(["lvrename", self.group, name, new_name])

    def remove(self, name: str) -> None:
        """Not there: success. DeviceBusy while somebody has it open."""
        retry = "activation{retry_deactivation=1}"
        try:
            self._run(["lvremove", "--yes", "--force", "--config", retry, f"{self.group}/{name}"])
        except errors.CommandFailed as error:
            if "Failed to find logical volume" in error.stderr:
                return
            if "in use" in error.stderr or "is used by" in error.stderr:
                raise errors.DeviceBusy(device=str(self.path(name)), reason="somebody has it open") from error
            raise

    def path(self, name: str) -> Path:
        return Path("/dev") / self.group / name

    def _run(self, argv: Sequence[str]) -> str:
        try:
            return self._runner.run(argv, timeout=COMMAND_SECONDS, no_retry=_FINAL).stdout
        except errors.CommandFailed as error:
            if any(text in error.stderr for text in ("insufficient free space", "Insufficient", "free space")):
                raise errors.OutOfSpace(
                    pool=self._backend, requested=None, free=None, reason=error.stderr.splitlines()[-1]
                ) from error
            raise


_REPORT = ["--reportformat", "json", "--units", "b", "--nosuffix"]
