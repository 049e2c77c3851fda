"""Bugs for a blind measure: planted after the walk's kinds of actions were chosen, in code that was read for that only.

`FIRST` was measured, then the walk got the kinds that the bugs not found had shown to be missing; `SECOND` was written and
measured after that. docs/rig.md has both tables.
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
             "lib.nbdsvc_vol_trim(h.vol, count, offset,", "lib.nbdsvc_vol_trim(h.vol, (count + 4095) & ~4095, offset,"),
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

SECOND: list[Mutation] = []
