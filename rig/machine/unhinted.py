"""Bugs without hints for a hunt: the machine of the tests hunts for each with the weights of every run (`make
mutations`).

Small wrong edits, which a reviewer could miss, in files that the machine's authors had not read when they wrote it.
"""

from rig.machine.mutations import Mutation

UNHINTED = [
    Mutation("a second snapshot has the bytes of its first", "drivers/file.py",
             "        source = origin if self.facts.shares_blocks else None\n        self._share(",
             "        first = [path for path, _ in pool.objects() if pool.origin(path) == snapshot.volume_id]\n"
             "        source = (first or [origin])[0] if self.facts.shares_blocks else None\n        self._share("),
    Mutation("a revert takes digests the wrong way", "nbdsvc/volumes/revert.py",
             "digests.copy(snapshot.id, volume.id)", "digests.copy(volume.id, snapshot.id)"),
    Mutation("a revert forgets the last chunk of each piece", "nbdsvc/datapath/reconcile.py",
             "range(0, len(new), CHUNK)", "range(0, len(new) - CHUNK, CHUNK)"),
    Mutation("zeroes lose their tail", "nbdsvc/exports/nbd/plugin.py",
             "lib.nbdsvc_client_zero(h.client, count, offset,", "lib.nbdsvc_client_zero(h.client, count & ~4095, offset,"),
    Mutation("a snapshot is as large as its volume is now", "nbdsvc/volumes/source.py",
             "_source(volume, snapshot.volume_size)", "_source(volume, volume.size)"),
    Mutation("an extension frees a volume in use", "nbdsvc/volumes/extend.py",
             '"extending", states.PREVIOUS, **changes', '"extending", "available", **changes'),
    Mutation("a copy lacks its last byte", "nbdsvc/journaled_copy.py",
             "others, size=size, destination_is_zero", "others, size=size - 1, destination_is_zero"),
    Mutation("a writer's volume keeps its digests", "nbdsvc/attachments/connect.py",
             "    if not spec.read_only:", "    if spec.read_only:"),
    Mutation("a snapshot has the id of its volume's object", "nbdsvc/refs.py",
             "state_of(snapshot), state_of(volume))", "state_of(volume), state_of(volume))"),
    Mutation("a deletion leaves the digests of snapshots", "nbdsvc/volumes/delete.py",
             "        host.digests.discard(snapshot.id)\n", ""),
    Mutation("a managed file is not made longer", "drivers/file.py",
             "        pool.adopt(source, path, owner)\n        pool.grow(path, size)",
             "        pool.adopt(source, path, owner)"),
    Mutation("a raw image loses its last sector", "nbdsvc/images/open_file.py",
             "source.cut(facts.virtual_size)", "source.cut(facts.virtual_size - 512)"),
    Mutation("a larger clone is as its source", "drivers/file.py",
             "self._share(pool, self._volume_path(volume), volume.size, owner, self._volume_path(source))",
             "self._share(pool, self._volume_path(volume), source.size, owner, self._volume_path(source))"),
]  # fmt: skip
