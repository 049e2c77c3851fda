"""Bugs for a blind measurement: chosen after the kinds of actions were fixed, in code that was read only for this.

`FIRST` was measured; then the kinds of actions were added that the bugs not found had shown to be missing. `SECOND` was
written and measured after that. `HOSTS` are of several hosts and of moves, for walks over two hosts; two of them are in
the C core. docs/rig.md has the tables.
"""

from rig.machine.mutations import Mutation

FIRST = [
    Mutation("a managed file loses what is no whole GiB", "drivers/file.py",
             "return max(1, to_gib(found.stat().st_size)) * GiB", "return max(1, found.stat().st_size // GiB) * GiB"),
    Mutation("digests of one size are the same", "nbdsvc/datapath/digests.py",
             "        if self.content == found.content:", "        if len(self.content) <= len(found.content):"),
    Mutation("a revert keeps what the snapshot has nothing of", "nbdsvc/datapath/reconcile.py",
             "if _is_hole(wanted, offset, length) and _is_hole(present, offset, length):",
             "if _is_hole(wanted, offset, length):"),
    Mutation("a trim takes whole blocks", "nbdsvc/exports/nbd/plugin.py",
             "lib.nbdsvc_client_trim(h.client, count, offset,",
             "lib.nbdsvc_client_trim(h.client, (count + 4095) & ~4095, offset,"),
    Mutation("a copied snapshot has no digests", "nbdsvc/snapshots/create.py",
             "    host.digests.copy(run.args.volume_id, snapshot.id)\n    return result", "    return result"),
    Mutation("a deleted snapshot takes its volume's digests", "nbdsvc/snapshots/delete.py",
             "digests.discard(run.args.snapshot_id)", "digests.discard(run.args.volume_id)"),
    Mutation("the footer of a fixed VHD is data", "nbdsvc/images/open_file.py",
             "    if facts.is_plain and facts.virtual_size:", '    if facts.format == "raw" and facts.virtual_size:'),
    Mutation("an extension stays intended", "nbdsvc/volumes/extend.py",
             'changes = {"size": args.new_size, "target_size": None}', 'changes = {"size": args.new_size}'),
    Mutation("a copy within a backend leaves its source", "nbdsvc/volumes/moves/finish.py",
             "    forget_copy(run)\n    if is_copied(run):",
             "    forget_copy(run)\n    if is_copied(run) and not read_places(run).is_one_backend:"),
    Mutation("a volume keeps the mode of its last attachment", "nbdsvc/attachments/delete.py",
             "    if not repositories.attachments_of(", "    if repositories.attachments_of("),
]  # fmt: skip

SECOND = [
    Mutation("a clone by shared blocks has no digests", "nbdsvc/volumes/create.py",
             "        digests.copy(args.source_volid, volume.id)\n", ""),
    Mutation("a clone cannot be booted from", "nbdsvc/volumes/new_row.py",
             "bootable=bool(source and source.bootable)", "bootable=False"),
    Mutation("a cascade deletes one snapshot", "nbdsvc/volumes/delete.py",
             "    for snapshot in found:\n        run.raise_if_stopped()",
             "    for snapshot in found[:1]:\n        run.raise_if_stopped()"),
    Mutation("an attach by actions makes another row", "nbdsvc/attachments/attach.py",
             "row = waiting[-1] if waiting else insert_legacy(conn, volume, None)",
             "row = insert_legacy(conn, volume, None)"),
    Mutation("a move forgets the id of the object", "nbdsvc/store/moves.py",
             '"volume_type_id", "provider_id", "provider_location"', '"volume_type_id", "provider_location"'),
    Mutation("a reverted file is the revert's", "drivers/pool.py",
             "            self._write(temporary, size, keeper, source)\n            temporary.replace(path)\n"
             "            atomic_file.sync_folder(path.parent)",
             "            self._write(temporary, size, owner, source)\n            temporary.replace(path)\n"
             "            atomic_file.sync_folder(path.parent)"),
    Mutation("a raw upload lacks its last sector", "nbdsvc/volumes/upload.py",
             'source.size, b"upload", empty=True', 'source.size - 512, b"upload", empty=True'),
    Mutation("a retype by a move keeps several attachments", "nbdsvc/volumes/moves/switch.py",
             "    if move.volume_type_id in (None, volume.volume_type_id):", "    if volume.multiattach:"),
    Mutation("a VDI of whole blocks is refused", "nbdsvc/images/formats/foreign.py",
             '(blocks * block < virtual, "its block table is too small for its virtual size"),\n        )\n    )\n'
             "    header.check_disk(virtual, table, blocks * 4)",
             '(blocks * block <= virtual, "its block table is too small for its virtual size"),\n        )\n    )\n'
             "    header.check_disk(virtual, table, blocks * 4)"),
    Mutation("an export keeps its first size", "nbdsvc/exports/nbd/plugin.py",
             "    _check(size)\n    return int(size)",
             '    _check(size)\n    return int(_shared.setdefault("size", int(size)))'),
]  # fmt: skip

HOSTS = [
    Mutation("a volume sent to a host lacks its last sector", "nbdsvc/volumes/moves/send.py",
             "journaled_copy.fill(run, source, sink, size, fingerprint_of",
             "journaled_copy.fill(run, source, sink, size - 512, fingerprint_of"),
    Mutation("a move between hosts leaves its source", "nbdsvc/volumes/moves/finish.py",
             "            host_of(run).digests.discard(places.volume.id)\n        places.destination",
             "            host_of(run).digests.discard(places.volume.id)\n            return\n        places.destination"),
    Mutation("a migration minds no type", "nbdsvc/backends/destination.py",
             "    request = _request(conn, volume, _type_of(conn, volume))\n    if clusters",
             "    request = _request(conn, volume, None)\n    if clusters"),
    Mutation("a volume that is used by a unix socket may go to another host", "nbdsvc/backends/destination.py",
             '    if any(each.get("unix_socket") for each in infos):',
             '    if any(each.get("unix_sockets") for each in infos):'),
    Mutation("an evacuation of a backend empties its host", "nbdsvc/volumes/evacuate.py",
             "    if backend:\n        here.append(", "    if backend is None:\n        here.append("),
    Mutation("an evacuated backend takes new volumes", "nbdsvc/volumes/evacuate.py",
             "            if not row.disabled:", "            if row.disabled:"),
    Mutation("a volume leaves its snapshots behind", "nbdsvc/volumes/moves/submit.py",
             "    if snapshots := repositories.snapshots_of(conn, volume.id):",
             "    if (snapshots := repositories.snapshots_of(conn, volume.id)) and volume.status != volume.status:"),
    Mutation("a lost host keeps its attachments", "nbdsvc/backends/lost_host.py",
             '    ends = states.ATTACHMENT["delete"].sources - {"detaching"}',
             '    ends = states.ATTACHMENT["delete"].sources - {"attached"}'),
    Mutation("a deletion on a lost host fails", "nbdsvc/operations/lost_host.py",
             "    return found.cursor >= len(type.steps) or (type.removes and not found.cancel_requested)",
             "    return found.cursor >= len(type.steps)"),
    Mutation("a mirror is called whole too early", "nbdsvc/volumes/moves/mirror.py",
             'if (found := self._look()) and found.state == "synchronised":',
             'if (found := self._look()) and found.state != "failed":'),
    Mutation("a mirrored write loses its tail at one side", "native/serve/mirror_request.c",
             "\tint there = err ? 0 : nbdsvc_second_pwrite(mirror->destination, buffer, length, offset, flags);",
             "\tint there = err ? 0 : nbdsvc_second_pwrite(mirror->destination, buffer, length & ~4095ul, offset, flags);"),
    Mutation("a mirrored zero is made at one side", "native/serve/mirror_request.c",
             "\tint there = err ? 0 : nbdsvc_second_zero(mirror->destination, length, offset, flags & ~NBDSVC_FAST);",
             "\tint there = 0;"),
]  # fmt: skip
