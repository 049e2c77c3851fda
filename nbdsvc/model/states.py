"""Every status, and every transition between statuses, as tables. No other module of nbdsvc has such a rule.

A transition is made by compare-and-swap in store/: the row changes only if its status is one of `sources`. So of two
requests at the same moment, one changes the row and the other gets an InvalidState that names the allowed statuses.

    in flight   a status that an operation has set: the operation's end, or recovery after a crash, replaces it
    waiting     a status that waits for the client: its next call replaces the status (attach, detach, unreserve ...)
    final       every other status

Sources: the status lists and preconditions of the block-storage API; rows S021-S032 of docs/acceptance.md.
docs/states.md is drawn from these tables.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Transition:
    """`verb` changes a row's status from one of `sources` to `during`, then to `done` or, after a failure, to `failed`.

    `during` None: the change is made at once. `done` None: the row is removed. `previous`: the status before, or the
    status that follows from the volume's attachments (BY_ATTACHMENTS).
    """

    verb: str
    sources: frozenset[str]
    during: str | None
    done: str | None
    failed: str | None = None

    def allowed(self) -> list[str]:
        """The sources in a fixed order, for messages."""
        return sorted(self.sources)


PREVIOUS = "previous"
NEW = "new"  # not a status: the row does not exist yet


def _table(*rows: tuple[str, str, str | None, str | None, str | None]) -> dict[str, Transition]:
    return {
        verb: Transition(verb, frozenset(sources.split()), during, done, failed)
        for verb, sources, during, done, failed in rows
    }


# The statuses that follow from a volume's attachments: PREVIOUS stands for one of them.
BY_ATTACHMENTS = ("available", "reserved", "attaching", "in-use")


def moves(table: dict[str, Transition]) -> frozenset[tuple[str, str]]:
    """(status, next status) of every change that the table's transitions make."""
    return frozenset(pair for transition in table.values() for pair in _moves_of(transition))


def _moves_of(transition: Transition) -> list[tuple[str, str]]:
    during = [transition.during] if transition.during else []
    begun = [(source, status) for source in transition.sources for status in during]
    ends = [
        status
        for end in (transition.done, transition.failed)
        if end is not None
        for status in (BY_ATTACHMENTS if end == PREVIOUS else (end,))
    ]
    return begun + [(source, end) for source in during or transition.sources for end in ends]


VOLUME_STATUSES = frozenset(
    """creating downloading available reserved attaching in-use detaching extending uploading deleting retyping
    maintenance reverting restoring-backup backing-up managing unmanaging awaiting-transfer
    error error_deleting error_attaching error_detaching error_extending error_restoring error_backing-up
    error_managing error_managing_deleting""".split()
)
VOLUME_IN_FLIGHT = frozenset(
    """creating downloading extending uploading deleting retyping maintenance reverting restoring-backup backing-up
    managing unmanaging""".split()
)
VOLUME_WAITING = frozenset({"reserved", "attaching", "detaching", "awaiting-transfer"})

VOLUME = _table(
    # verb, sources, during, done, failed
    ("create", NEW, "creating", "available", "error"),
    ("fill from image", "creating", "downloading", "available", "error"),
    # The creation goes on in the next pool after the backend of the first one failed.
    ("create elsewhere", "creating downloading", "creating", "available", "error"),
    ("delete", "available error error_restoring error_extending error_managing", "deleting", None, "error_deleting"),
    ("force delete", " ".join(sorted(VOLUME_STATUSES)), "deleting", None, "error_deleting"),
    # The backend reports that the volume is in use, or the deletion was cancelled before anything was removed.
    ("keep", "deleting", None, PREVIOUS, None),
    ("unmanage", "available error", "unmanaging", None, "error"),
    ("reserve", "available", None, "attaching", None),
    ("reserve multiattach", "available in-use", None, "attaching", None),
    ("unreserve", "attaching", None, PREVIOUS, None),
    ("attach", "available attaching", None, "in-use", "error_attaching"),
    ("attach again", "attaching in-use", None, "in-use", None),
    ("attach multiattach", "available attaching in-use", None, "in-use", "error_attaching"),
    ("begin detaching", "in-use", None, "detaching", None),
    ("roll detaching", "detaching", None, "in-use", None),
    ("detach", "in-use detaching attaching reserved", None, PREVIOUS, "error_detaching"),
    ("reserve attachment", "available downloading", None, "reserved", None),
    ("reserve attachment multiattach", "available downloading in-use reserved attaching", None, "reserved", None),
    ("connect attachment", "reserved attaching in-use", None, "attaching", "error_attaching"),
    ("complete attachment", "attaching in-use reserved", None, "in-use", None),
    # The status of a volume without a running operation follows from its attachments.
    (
        "follow attachments",
        "available reserved attaching in-use detaching error_attaching error_detaching",
        None,
        PREVIOUS,
        None,
    ),
    ("extend", "available", "extending", PREVIOUS, "error_extending"),
    ("extend online", "available in-use", "extending", PREVIOUS, "error_extending"),
    ("update readonly flag", "available", None, "available", None),
    ("verify", "available", "maintenance", PREVIOUS, PREVIOUS),
    ("promote replica", "available", "maintenance", PREVIOUS, PREVIOUS),
    ("upload to image", "available", "uploading", PREVIOUS, PREVIOUS),
    ("force upload to image", "available in-use", "uploading", PREVIOUS, PREVIOUS),
    ("retype", "available", "retyping", PREVIOUS, PREVIOUS),
    # The type changes without a move of the volume, at once.
    ("retype in place", "available in-use", None, PREVIOUS, None),
    # With lock_volume. Without it the status does not change, and any other command ends the migration.
    ("migrate", "available", "maintenance", PREVIOUS, PREVIOUS),
    ("revert", "available error", "reverting", "available", "error"),
    ("reimage", "available error reserved", "downloading", PREVIOUS, "error"),
    ("back up", "available in-use", "backing-up", PREVIOUS, PREVIOUS),
    ("restore", "available error_restoring", "restoring-backup", "available", "error_restoring"),
    # Nothing was written yet.
    ("give up a restore", "restoring-backup", None, PREVIOUS, None),
    ("restore to a new volume", NEW, "restoring-backup", "available", "error"),
    ("manage", NEW, "managing", "available", "error_managing"),
    # After a failover to a site without a replica of the volume, until the backend fails back.
    (
        "be left behind",
        "available reserved attaching in-use detaching error_attaching error_detaching awaiting-transfer",
        None,
        "error",
        None,
    ),
    ("be found again", "error", None, PREVIOUS, None),
    # The volume's host was declared lost.
    (
        "be lost",
        "available reserved attaching in-use detaching error_attaching error_detaching awaiting-transfer",
        None,
        "error",
        None,
    ),
    ("begin transfer", "available", None, "awaiting-transfer", None),
    # With its group; after a failure it is `error` as the group is, unless the driver says otherwise of it.
    (
        "delete with its group",
        # Not error_managing: its object is not ours, and a driver of groups deletes what it is given.
        "available error error_deleting error_restoring error_extending",
        "deleting",
        None,
        "error",
    ),
    # Its group could not take it in or let it go, or the driver says so.
    ("fail with its group", "creating available in-use error error_deleting", None, "error", None),
    # The transfer was accepted or withdrawn; `error` when it is unknown which owner the backend has stored.
    ("end transfer", "awaiting-transfer", None, "available", "error"),
)

SNAPSHOT_STATUSES = frozenset(
    "creating available deleting restoring backing-up unmanaging error error_deleting deleted".split()
)
SNAPSHOT_IN_FLIGHT = frozenset("creating deleting restoring backing-up unmanaging".split())

SNAPSHOT = _table(
    ("create", NEW, "creating", "available", "error"),
    ("delete", "available error error_deleting", "deleting", None, "error_deleting"),
    ("force delete", " ".join(sorted(SNAPSHOT_STATUSES - {"deleted"})), "deleting", None, "error_deleting"),
    ("keep", "deleting", None, "available", None),
    ("revert to", "available", "restoring", "available", "available"),
    ("back up", "available", "backing-up", "available", "available"),
    ("unmanage", "available error", "unmanaging", None, "error"),
    ("manage", NEW, "creating", "available", "error"),
    ("be lost", "available", None, "error", None),
    ("delete with its group snapshot", "available error error_deleting", "deleting", None, "error"),
)

BACKUP_STATUSES = frozenset("creating available deleting restoring error error_deleting".split())
BACKUP_IN_FLIGHT = frozenset("creating deleting restoring".split())

BACKUP = _table(
    ("create", NEW, "creating", "available", "error"),
    # A record of another installation.
    ("import", NEW, "creating", "available", "error"),
    ("delete", "available error error_deleting", "deleting", None, "error_deleting"),
    ("force delete", " ".join(sorted(BACKUP_STATUSES)), "deleting", None, "error_deleting"),
    ("restore from", "available", "restoring", "available", "available"),
    # The store lacks or has changed what the backup needs.
    ("be damaged", "available restoring", None, "error", None),
)

# The volume statuses in which a snapshot can be taken; the volume's own status does not change.
SNAPSHOT_SOURCE = frozenset({"available"})
SNAPSHOT_SOURCE_FORCED = frozenset({"available", "in-use"})
# The statuses of a volume that can be cloned.
CLONE_SOURCE = frozenset({"available", "in-use"})

ATTACHMENT_STATUSES = frozenset(
    "reserved attaching attached detaching detached error_attaching error_detaching deleted".split()
)
ATTACHMENT_IN_FLIGHT = frozenset({"detaching"})
ATTACHMENT_WAITING = frozenset({"reserved", "attaching"})

ATTACHMENT = _table(
    ("reserve", NEW, None, "reserved", None),
    ("reserve by a volume action", NEW, None, "attaching", None),
    ("connect", "reserved attaching attached error_attaching", None, "attaching", "error_attaching"),
    ("connect again", "attached", None, "attached", "error_attaching"),
    ("complete", "attaching reserved attached", None, "attached", None),
    (
        "delete",
        "reserved attaching attached detaching error_attaching error_detaching",
        "detaching",
        None,
        "error_detaching",
    ),
    # For os-unreserve, or an os-initialize_connection that failed: the reservation has no export.
    ("give up a volume action", "attaching", None, None, None),
    ("go with the volume", " ".join(sorted(ATTACHMENT_STATUSES)), None, None, None),
)

# The statuses that an administrator may set; `in-use` needs attachments (checked in volumes/reset_status.py).
VOLUME_RESET = VOLUME_STATUSES - {"reserved", "restoring-backup", "unmanaging"}
SNAPSHOT_RESET = frozenset("available creating deleting error error_deleting".split())
BACKUP_RESET = frozenset({"available", "error"})
ATTACH_STATUS_RESET = frozenset({"attached", "detached"})
MIGRATION_STATUSES = frozenset("starting migrating completing success error none".split())
MIGRATION_IN_FLIGHT = frozenset({"starting", "migrating", "completing"})
# With these a move may be under way, or have left it open where the volume is (store/moves.py).
MIGRATION_UNSETTLED = MIGRATION_IN_FLIGHT | {"error"}

# migration_status of a volume, beside its status; a row without a value has `none`. From `completing` on, the volume is
# at its destination, and only the source has to be removed.
MIGRATION = _table(
    ("begin", "none success error", None, "starting", None),
    ("make the destination", "starting migrating", None, "migrating", None),
    ("switch", "starting migrating", None, "completing", None),
    ("finish", "completing", None, "success", None),
    ("give up", "starting migrating", None, "error", None),
)

# The statuses of groups and of group snapshots; consistency groups and their snapshots are rows of both.
GROUP_STATUSES = frozenset("creating available updating deleting error error_deleting deleted".split())
GROUP_IN_FLIGHT = frozenset({"creating", "updating", "deleting"})

GROUP = _table(
    ("create", NEW, "creating", "available", "error"),
    ("update", "available", "updating", "available", "error"),
    ("delete", "available error error_deleting", "deleting", None, "error"),
    # The deletion, or the change, was refused or cancelled before anything was changed.
    ("keep", "deleting updating", None, "available", None),
)

GROUP_SNAPSHOT_STATUSES = frozenset("creating available deleting error error_deleting deleted".split())
GROUP_SNAPSHOT_IN_FLIGHT = frozenset({"creating", "deleting"})

GROUP_SNAPSHOT = _table(
    ("create", NEW, "creating", "available", "error"),
    # Also where the driver says `error_deleting` of it (trap T8).
    ("delete", "available error error_deleting", "deleting", None, "error"),
)

# The statuses that an administrator may set.
GROUP_RESET = GROUP_STATUSES - {"deleted"}
GROUP_SNAPSHOT_RESET = GROUP_SNAPSHOT_STATUSES - {"deleted"}
# Statuses of volumes: of one that may join a group, that may leave it, and that is in a group of which a snapshot is taken.
JOINABLE = frozenset({"available", "in-use"})
LEAVABLE = frozenset({"available", "in-use", "error", "error_deleting"})
GROUPED = frozenset({"available", "in-use"})

# The replication status of a whole group, beside its status.
GROUP_REPLICATION_STATUSES = frozenset(
    "enabled disabled not-capable failing-over failed-over error enabling disabling".split()
)
GROUP_REPLICATION_IN_FLIGHT = frozenset({"enabling", "disabling", "failing-over"})
GROUP_REPLICATION = _table(
    ("enable", "disabled enabled", "enabling", "enabled", "error"),
    ("disable", "enabled error", "disabling", "disabled", "error"),
    ("fail over", "enabled failed-over", "failing-over", "failed-over", "error"),
    ("fail back", "failed-over", "failing-over", "enabled", "error"),
    # Refused by the driver, or cancelled, before anything was changed.
    ("stay disabled", "enabling", None, "disabled", None),
    ("stay failed", "disabling", None, "error", None),
    ("stay enabled", "enabling disabling failing-over", None, "enabled", None),
    ("stay failed over", "failing-over", None, "failed-over", None),
)

# The statuses of a volume's replica that drivers return: any may follow any other. They are read at intervals.
REPLICA_STATUSES = frozenset("copying active active-stopped inactive error".split())
PROMOTABLE = frozenset({"active", "active-stopped"})
REENABLEABLE = frozenset({"inactive", "active-stopped", "error"})
# The replication status of a volume without a replica at the site that a failover went to.
LEFT_BEHIND = "failover-error"
VOLUME_REPLICATION_STATUSES = REPLICA_STATUSES | {"disabled"}
SERVICE_REPLICATION_STATUSES = frozenset(
    "enabled disabled not-capable failing-over failed-over failover-error error enabling disabling".split()
)
SERVICE_REPLICATION_IN_FLIGHT = frozenset({"failing-over"})

# The replication status of a whole backend. After a failover that the driver refused because of the target's name, the
# backend gets its former status by the end of `fail over` or `fail back`.
REPLICATION = _table(
    ("replicate", "disabled not-capable enabling", None, "enabled", None),
    ("stop replicating", "enabled disabling", None, "disabled", None),
    ("fail over", "enabled failed-over", "failing-over", "failed-over", "failover-error"),
    ("fail back", "enabled failed-over", "failing-over", "enabled", "failover-error"),
    # It is unknown what the driver has changed.
    ("fail", "enabled failed-over", "failing-over", "error", None),
    # Made at the next start of the backend.
    ("look again", "error failover-error", None, "enabled", None),
    ("look again failed over", "error failover-error", None, "failed-over", None),
)
