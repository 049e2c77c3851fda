"""Bugs that are planted in a copy of the product, to show that the machine finds them.

Each replaces a piece of one file, in the machines' tree and never in the working tree. A test of the ordinary suite
(tests/unit/test_mutations.py) fails when a bug cannot be planted any more.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """One bug. name: for the command line. path: the file's; old, new: the replaced piece, found once; also: another
    piece.

    transport: the one over which the bug shows. needs: actions without which it never shows; a hunt draws them more
    often.
    """

    name: str
    path: str
    old: str
    new: str
    transport: str = "nbd"
    needs: tuple[str, ...] = ()
    also: tuple[str, str] | None = None

    def plant(self, tree: Path) -> None:
        """Plant the bug in this tree. ValueError unless each piece is there exactly once."""
        file = tree / self.path
        text = file.read_text()
        for old, new in [(self.old, self.new), *([self.also] if self.also else [])]:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {self.path} has its piece {text.count(old)} times")
            text = text.replace(old, new)
        file.write_text(text)


# A server that ignores NBD_CMD_WRITE_ZEROES is not among them: the NBD client of these kernels (6.1) does not send it
# and writes the zeros itself; tests/contract/test_exporter.py sends it by libnbd.
MUTATIONS = [
    # With write-through, a flush has nothing to do.
    Mutation("nothing is made durable", "nbdsvc/exports/nbd/plugin.py",
             "    _check_durable(h, lib.nbdsvc_vol_flush(h.vol) if h.readonly else lib.nbdsvc_served_flush(h.served))",
             "    pass", needs=("attach", "write", "cut_storage"),
             also=('WRITE_THROUGH if _spec["write_through"] else 0', "0")),
    Mutation("read-only is ignored", "nbdsvc/attachments/desired_export.py",
             'read_only=attachment.mode == "ro" or bool(volume.readonly)', "read_only=False",
             needs=("attach", "write")),
    Mutation("a detach leaves its export", "nbdsvc/exports/nbd/exporter.py",
             "        is_gone = state.end_process()\n        state.remove()\n        self._forget",
             "        return\n        self._forget"),
    Mutation("a port is used again too early", "nbdsvc/exports/nbd/command.py", " if port not in recorded)", ")",
             needs=("attach", "kill_server"),
             also=("zlib.crc32(state.id.encode()) % (last - first + 1)", "0")),
    Mutation("an export is not repaired", "nbdsvc/attachments/repair.py",
             "        exporter.ensure(spec)", "        pass", needs=("attach", "kill_server")),
    Mutation("the device's agent does nothing", "nbdsvc/connectors/nbd_watch.py",
             "            if self._repair(devices[device]):", "            if True:",
             needs=("attach", "kill_server")),
    Mutation("extend changes the row only", "drivers/lvm/base.py",
             "        self._grow(self._at(volume.pool), names.volume_name(volume.id), new_size)", "        pass"),
    Mutation("a volume of a snapshot is one of its volume", "drivers/lvm/thin.py",
             "        self._share(at, names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)",
             "        origin = names.volume_name(snapshot.volume_id)\n"
             "        self._share(at, names.volume_name(volume.id), origin, volume.size, owner)",
             needs=("attach", "write", "snapshot", "from_snapshot")),
    # Reported by a user; it has no weights of its own, so that every run has to find it.
    Mutation("a second snapshot has the bytes of its first", "drivers/lvm/thin.py",
             "        self._share(at, names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id), 0, owner)",
             "        origin = names.volume_name(snapshot.volume_id)\n"
             "        found = [lv.name for lv in at.lvm.volumes() if lv.origin == origin and lv.name[0] == '_']\n"
             "        self._share(at, names.snapshot_name(snapshot.id), (found or [origin])[0], 0, owner)"),
    Mutation("a clone is empty", "drivers/lvm/thin.py",
             "        self._share(at, names.volume_name(volume.id), names.volume_name(source.id), volume.size, owner)",
             "        self.create_volume(volume, owner)",
             needs=("attach", "write", "clone")),
    Mutation("a revert does nothing", "drivers/lvm/thin.py",
             "        if current is None and old not in found:",
             "        if snapshot:\n            return\n        if current is None:",
             needs=("attach", "write", "snapshot", "detach", "revert")),
    Mutation("new blocks are not zeroed", "drivers/lvm/thin.py",
             "if pool and pool.is_thin_pool and not pool.zeroing:\n            at.lvm.zero_new_blocks(at.thin_pool)",
             "if pool and pool.is_thin_pool and pool.zeroing:\n"
             '            at.lvm._run(["lvchange", "--zero", "n", f"{at.lvm.group}/{at.thin_pool}"])',
             needs=("attach", "write", "fill_pool")),
    Mutation("a snapshot's tag is forgotten", "drivers/lvm/commands.py",
             '"n", *activate, "--name", name, "--addtag",\n                   facts.OWNER + owner, f"{self.group}/{origin}"',
             '"n", *activate, "--name", name,\n                   f"{self.group}/{origin}"'),
    Mutation("the undo of a create is lost", "nbdsvc/volumes/create.py",
             '    backend_of(run).driver.delete_volume(read_volume_ref(run, run.args.volume_id))\n', "",
             needs=("from_broken_image",)),
    Mutation("a volume in use may be reserved", "nbdsvc/attachments/reserve.py",
             "        if volume.status not in states.VOLUME[verb].sources:", "        if False:", needs=("attach", "steal"),
             also=("transition(conn, volume_id, states.VOLUME[verb].sources, target,",
                   "transition(conn, volume_id, [volume.status], target,")),
    Mutation("a detach does not free the volume", "nbdsvc/store/transitions.py",
             '    return "available"\n\n\ndef follow_attachments', '    return "in-use"\n\n\ndef follow_attachments'),
    Mutation("a device does not grow", "nbdsvc/connectors/nbd_watch.py",
             "        if size <= size_of(attached.device):", "        if True:", needs=("attach", "extend")),
    Mutation("a detach leaves its access", "nbdsvc/exports/lio/exporter.py",
             "        self._configure(note.spec.volume_id if note else export_id)\n", "", "iscsi"),
    Mutation("a reader may write over iSCSI", "nbdsvc/exports/lio/exporter.py",
             "ExportAccess(name, user, password, spec.read_only)", "ExportAccess(name, user, password, False)", "iscsi"),
    Mutation("a target is not made again", "nbdsvc/exports/lio/exporter.py",
             "            self._configure(spec.volume_id)\n        except", "            pass\n        except", "iscsi",
             ("attach", "restart_storage")),
    Mutation("an error of the disk is not reported", "nbdsvc/exports/nbd/plugin.py",
             "    if result < 0 and lib.nbdsvc_vol_has_lost(h.vol):\n        _lost_mark().touch()\n    _check(result)",
             "    return", needs=("attach", "fail_disk")),
    Mutation("metadata that is full is not minded", "drivers/lvm/watching.py",
             "    if found.metadata_percent >= policy.metadata_refusal:", "    if False:",
             needs=("attach", "fill_pool")),
    Mutation("a frozen backend takes changes", "nbdsvc/store/backends.py",
             '    if any(conn.execute(_frozen, {"host": name, "backend": backend}).scalars()):', "    if not name:",
             needs=("freeze",)),
    Mutation("a moved volume is empty", "nbdsvc/volumes/moves/fill.py",
             "        source.cut(places.here.size)\n", "        source.cut(0)\n",
             needs=("attach", "write", "detach", "retype", "migrate")),
    Mutation("quotas count deleted snapshots", "nbdsvc/store/quotas.py",
             "snapshots=snapshot_count, gigabytes=", "snapshots=snapshot_count + 1, gigabytes="),
]  # fmt: skip


def named(name: str) -> Mutation:
    """The planted bug of this name. SystemExit, which lists all names, for an unknown one."""
    found = [each for each in MUTATIONS if each.name == name]
    if not found:
        raise SystemExit(f"no planted bug is called {name!r}; there are: {', '.join(each.name for each in MUTATIONS)}")
    return found[0]
