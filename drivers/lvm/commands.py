"""Every LVM command of this driver: arguments, retries, and what its messages mean. No other module runs one.

LVM serialises changes of a volume group by its own lock; a hung command is ended after COMMAND_SECONDS and said so, a
crashed one (SIGSEGV has been seen: LP 1901783) is tried again, because each of them is one commit of
metadata or none.
"""

from collections.abc import Sequence
from pathlib import Path

from drivers.lvm import facts, one_moment
from nbdsvc import errors, process

# A command takes a fraction of a second. One that takes longer than this waits for a disk that hangs; a repeat would too.
COMMAND_SECONDS = 60.0
# Errors that a repetition of the command cannot change.
_FINAL = ("Failed to find", "not found", "already exists", "insufficient", "in use", "contains a filesystem", "Insufficient",
          "matches existing size", "lower than", "is used by", "no end within", "is already set")  # fmt: skip
# NBD devices of this host are guests' disks: volume groups on them do not belong to this host.
_GUESTS = 'filter=["r|^/dev/nbd|"]'


class Commands:
    """LVM on one volume group. `devices`: the only disks that LVM is to look at; empty: all but guests' and LVs."""

    def __init__(
        self, group: str, backend: str, runner: process.Runner, devices: Sequence[str] = (),
        seconds: float = COMMAND_SECONDS,
    ) -> None:  # fmt: skip
        self.group = group
        self._backend = backend
        self._runner = runner
        self._seconds = seconds
        guests = "" if devices else _GUESTS
        config = f"devices{{scan_lvs=0 {guests}}} activation{{retry_deactivation=1}}"
        self._scope = ["--config", config, *(["--devices", ",".join(devices)] if devices else [])]

    # Facts

    def group_facts(self) -> facts.VolumeGroup | None:
        """The volume group; None where it does not exist."""
        argv = ["vgs", *_REPORT, "-o", facts.VG_FIELDS, self.group]
        try:
            return facts.volume_groups(self._run(argv))[0]
        except errors.CommandFailed as error:
            if "not found" in error.stderr:
                return None
            raise

    def volumes(self, *names: str) -> list[facts.LogicalVolume]:
        """The visible LVs of the group, or those of these names that are there, with one command."""
        chosen = ["--select", " || ".join(f'lv_name="{name}"' for name in names)] if names else []
        return facts.logical_volumes(self._run(["lvs", *_REPORT, "-o", facts.LV_FIELDS, *chosen, self.group]))

    def extent_ranges(self, name: str) -> list[str]:
        """The LV's physical extents as `extend` takes them: PV:FIRST-LAST."""
        argv = ["lvs", *_REPORT, "--segments", "-o", "seg_pe_ranges", f"{self.group}/{name}"]
        return facts.extent_ranges(self._run(argv))

    # Pools

    def make_pool(self, name: str, percent: int) -> None:
        """Create a thin pool of `percent` of the free extents. It zeroes new blocks: they may hold old bytes."""
        self._run(["lvcreate", "--yes", "--type", "thin-pool", "--zero", "y", "--extents", f"{percent}%FREE", "--name",
                   name, self.group])  # fmt: skip

    def fail_when_full(self, name: str) -> None:
        """A full pool is to fail at once: by default its writers hang a minute. lvcreate refuses the option for pools."""
        self._run(["lvchange", "--errorwhenfull", "y", f"{self.group}/{name}"])

    def zero_new_blocks(self, name: str) -> None:
        """Let the thin pool zero each block before its first use."""
        self._run(["lvchange", "--zero", "y", f"{self.group}/{name}"])

    def extend_pool_metadata(self, name: str, more: int) -> None:
        """Extend the thin pool's metadata by `more` bytes. OutOfSpace where the group has no room for it."""
        self._run(["lvextend", "--poolmetadatasize", f"+{more}b", f"{self.group}/{name}"])

    # LVs

    def make_thin(self, name: str, pool: str, size: int, owner: str) -> None:
        """Create a thin LV of `size` bytes in the pool, tagged with its owner."""
        self._run(["lvcreate", "--yes", "--wipesignatures", "n", "--thin", "--virtualsize", f"{size}b", "--name", name,
                   "--addtag", facts.OWNER + owner, f"{self.group}/{pool}"])  # fmt: skip

    def make_thin_snapshot(self, name: str, origin: str, owner: str, *, active: bool = True) -> None:
        """Create a thin snapshot, without the flag that excludes snapshots from activation."""
        activate = [] if active else ["--activate", "n"]
        self._run(["lvcreate", "--yes", "--snapshot", "--setactivationskip", "n", *activate, "--name", name, "--addtag",
                   facts.OWNER + owner, f"{self.group}/{origin}"])  # fmt: skip

    def swap(self, swaps: Sequence[one_moment.Swap]) -> float:
        """Make inactive thin snapshots, also of other groups, anew, all of one moment; the seconds that it took.

        CommandFailed where one is active, or an origin is not suspended in time.
        """
        argv = one_moment.command(process.resolve("dmsetup"), swaps)
        done = self._runner.run(argv, timeout=one_moment.HOLD_SECONDS + one_moment.MORE_SECONDS, tries=1)
        return int(done.stdout) / 1e6

    def make_thick(self, name: str, size: int, owner: str = "") -> None:
        """Create a linear LV of `size` bytes, tagged with its owner where there is one. OutOfSpace in a full group."""
        tag = ["--addtag", facts.OWNER + owner] if owner else []
        self._run(
            ["lvcreate", "--yes", "--wipesignatures", "n", "--size", f"{size}b", "--name", name, *tag, self.group]
        )

    def make_classic_snapshot(self, name: str, origin: str, size: int, owner: str) -> None:
        """Create a classic snapshot with room for `size` bytes of changes, of itself or its origin."""
        self._run(["lvcreate", "--yes", "--snapshot", "--size", f"{size}b", "--name", name, "--addtag",
                   facts.OWNER + owner, f"{self.group}/{origin}"])  # fmt: skip

    def split_snapshot(self, name: str) -> None:
        """Turn a classic snapshot into an LV of its own: it holds the changed chunks, and does not read as a volume."""
        self._run(["lvconvert", "--yes", "--splitsnapshot", f"{self.group}/{name}"])

    def extend(self, name: str, size: int, ranges: Sequence[str] = ()) -> None:
        """Extend the LV to `size` bytes, on these extent ranges where they are given. OutOfSpace in a full group."""
        self._run(["lvextend", "--size", f"{size}b", f"{self.group}/{name}", *ranges])

    def shrink(self, name: str, size: int) -> None:
        """Reduce the LV to `size` bytes; what it held behind them is lost."""
        self._run(["lvreduce", "--yes", "--force", "--size", f"{size}b", f"{self.group}/{name}"])

    def rename(self, name: str, new_name: str) -> None:
        """Rename the LV. CommandFailed where the new name is taken."""
        self._run(["lvrename", self.group, name, new_name])

    def tag(self, name: str, owner: str) -> None:
        """Add the owner's tag to the LV."""
        self._run(["lvchange", "--addtag", facts.OWNER + owner, f"{self.group}/{name}"])

    def untag(self, name: str, owner: str) -> None:
        """Remove the owner's tag from the LV."""
        self._run(["lvchange", "--deltag", facts.OWNER + owner, f"{self.group}/{name}"])

    def activate(self, *names: str) -> None:
        """Activate the LVs, and remove the flag that excludes an LV from activation."""
        paths = [f"{self.group}/{name}" for name in names]
        self._run(["lvchange", "--setactivationskip", "n", *paths])
        self._run(["lvchange", "--activate", "y", "--ignoreactivationskip", *paths])

    def deactivate(self, *names: str) -> None:
        """Deactivate the LVs: their devices go away. DeviceBusy while one is open."""
        self._run_unused(["lvchange", "--activate", "n", *(f"{self.group}/{name}" for name in names)], names[0])

    def refresh(self, name: str) -> None:
        """Reload the LV's table and resume it, where a killed command left it suspended."""
        self._run(["lvchange", "--refresh", f"{self.group}/{name}"])

    def remove(self, *names: str) -> None:
        """Remove those of these LVs that exist. DeviceBusy while one is open."""
        if not names:
            return
        paths = [f"{self.group}/{name}" for name in names]
        try:
            self._run_unused(["lvremove", "--yes", "--force", *paths], names[0])
        except errors.CommandFailed as error:
            # One LV was missing; the command is repeated with those that exist.
            left = [found.name for found in self.volumes(*names)]
            if "Failed to find logical volume" not in error.stderr or len(left) == len(names):
                raise
            self.remove(*left)

    def path(self, name: str) -> Path:
        """/dev/GROUP/NAME of the LV's device, whether it exists or not."""
        return Path("/dev") / self.group / name

    def _run_unused(self, argv: Sequence[str], name: str) -> None:
        try:
            self._run(argv)
        except errors.CommandFailed as error:
            if "in use" in error.stderr or "is used by" in error.stderr:
                raise errors.DeviceBusy(device=str(self.path(name)), reason="it is open") from error
            raise

    def _run(self, argv: Sequence[str]) -> str:
        command = [argv[0], *self._scope, *argv[1:]]
        try:
            return self._runner.run(command, timeout=self._seconds, no_retry=_FINAL).stdout
        except errors.CommandFailed as error:
            if any(text in error.stderr for text in ("insufficient free space", "Insufficient", "free space")):
                raise errors.OutOfSpace(
                    pool=self._backend, requested=None, free=None, reason=error.stderr.splitlines()[-1]
                ) from error
            raise


_REPORT = ["--reportformat", "json", "--units", "b", "--nosuffix"]
