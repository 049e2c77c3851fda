"""Differences of attachments: between rows, exports, targets, sessions and devices."""

from collections.abc import Iterator, Mapping
from typing import Any

from nbdsvc.explain.facts import Export
from nbdsvc.explain.finding import ERROR, NOTE, WARNING, Case, Found
from nbdsvc.explain.view import View, place
from nbdsvc.model.entities import Attachment

# Display names of the transports.
_SAID = {"nbd": "NBD", "iscsi": "iSCSI"}
_REPAIR = "repair the export, as the service does at its next look"


def _found(view: View, row: Attachment, since: Any = None, **values: Any) -> Found:
    volume = view.volumes.get(row.volume_id)
    host = row.attached_host or (row.connector or {}).get("host") or "a host without a name"
    common = {
        "volume": row.volume_id,
        "by": _SAID.get(row.protocol or "", row.protocol or "no transport"),
        "attached": host,
        "status": row.status,
    }
    related = {row.volume_id} | ({place(volume)} if volume else set())
    return Found("attachment", row.id, {**common, **values}, since, frozenset(related))


def _here(view: View) -> Iterator[Attachment]:
    """Attachments of this host's volumes without a running operation and without an unrecorded end of access."""
    for row in view.facts.attachments:
        if view.is_here(view.volumes.get(row.volume_id)) and view.idle(row.id) and row.id not in view.facts.ended:
            yield row


def _exported(view: View) -> Iterator[tuple[Attachment, Export]]:
    """Each that is to be exported, with its export as far as it is looked at. Where the volume's bytes are away, that is
    another finding, and its export cannot be right.
    """
    for row in _here(view):
        export = view.exports.get((row.id, row.protocol or ""))
        is_due = row.exported and row.status != "detaching" and view.has_bytes(view.volumes[row.volume_id])
        if is_due and export is not None:
            yield row, export


def _export_gone(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        if not export.present:
            yield _found(view, row)


def _note_damaged(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        if export.present and not export.noted:
            yield _found(view, row)


def _export_sick(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        if export.present and export.noted and export.fault:
            yield _found(view, row, reason=export.fault)


def _limits_differ(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        wanted = view.facts.limits.get(row.id, {})
        if export.limiting and not export.fault and export.limits != wanted:
            found = "what its server does not say" if export.limits is None else _written(export.limits)
            yield _found(view, row, found=found, wanted=_written(wanted))


def _limits_unkept(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        wanted = view.facts.limits.get(row.id, {})
        if export.present and not export.fault and not export.limiting and wanted:
            yield _found(view, row, wanted=_written(wanted))


def _written(limits: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(limits.items())) or "no limits"


def _surplus(view: View) -> Iterator[Found]:
    for row in _here(view):
        for export in view.facts.exports:
            if export.id == row.id and export.present and not (row.exported and row.protocol == export.protocol):
                yield _found(view, row, protocol=export.protocol)


def _without_row(view: View) -> Iterator[Found]:
    for export in view.facts.exports:
        if export.present and export.id not in view.attachments and view.idle(export.id):
            yield Found("export", export.id, {"protocol": export.protocol})


def _orphan(view: View) -> Iterator[Found]:
    """Targets without a note, unless an attachment requires the target: its repair then writes the missing note."""
    for protocol, id in view.facts.orphans:
        rows = view.attached[id]
        is_called_for = any(row.exported and row.protocol == protocol for row in rows)
        if not is_called_for and view.idle(id, *(row.id for row in rows)):
            yield Found("export", id, {"protocol": protocol}, related=frozenset({id}))


def _no_session(view: View) -> Iterator[Found]:
    for row, export in _exported(view):
        initiator = str((row.connector or {}).get("initiator") or "").lower()
        if row.status == "attached" and export.sessions is not None and initiator not in export.sessions:
            yield _found(view, row, initiator=initiator)


def _unknown_session(view: View) -> Iterator[Found]:
    """Sessions of initiators that no attachment of the volume names."""
    seen: set[tuple[str, str]] = set()
    for row, export in _exported(view):
        rows = view.attached[row.volume_id]
        known = {str((each.connector or {}).get("initiator") or "").lower() for each in rows}
        strange = (export.sessions or frozenset()) - known
        if strange and (row.volume_id, row.protocol or "") not in seen and view.idle(*(each.id for each in rows)):
            seen.add((row.volume_id, row.protocol or ""))
            yield _found(view, row, initiators=", ".join(sorted(strange)))


def _unrecorded(view: View) -> Iterator[Found]:
    for id in view.facts.ended:
        if id in view.attachments and view.idle(id):
            yield _found(view, view.attachments[id])


def _device(view: View) -> Iterator[Found]:
    """Devices without an attachment; volumes of other services may also be devices of this host."""
    for device in view.facts.devices:
        is_known = device.volume_id in view.volumes and view.idle(device.volume_id, device.attachment_id)
        if is_known and device.attachment_id not in view.attachments:
            yield Found("volume", device.volume_id, {"path": device.path, "attachment": device.attachment_id})


def _volume_gone(view: View) -> Iterator[Found]:
    for row in view.facts.attachments:
        if row.volume_id not in view.volumes and view.idle(row.id, row.volume_id):
            yield _found(view, row)


def _stuck(view: View) -> Iterator[Found]:
    for row in view.facts.attachments:
        if row.status == "detaching" and view.idle(row.id) and row.volume_id in view.volumes:
            yield _found(view, row, row.updated_at or row.created_at)


def _failed(view: View) -> Iterator[Found]:
    for row in view.facts.attachments:
        if row.status.startswith("error") and view.idle(row.id):
            yield _found(view, row, row.updated_at)


OF_STORAGE = (
    Case("attachment.export_gone", ERROR, "volume {volume} is attached to {attached} by {by}, and its export is gone",
         "repair the export (--fix)", _export_gone, fix=_REPAIR),
    Case("attachment.note_damaged", ERROR, "volume {volume} is attached to {attached} by {by}, and the exporter cannot read "
         "its own note of it", "repair the export (--fix)", _note_damaged, fix=_REPAIR),
    Case("attachment.export_sick", ERROR, "volume {volume} is attached to {attached} by {by}, and is not served: {reason}",
         "repair the export (--fix)", _export_sick, fix=_REPAIR),
    Case("attachment.limits_differ", ERROR, "volume {volume} is attached to {attached} by {by}, and its export keeps clients "
         "to {found}; its type says {wanted}", "repair the export (--fix), which starts a server of an older version anew, "
         "and so interrupts its clients", _limits_differ, fix="let its export keep clients to the limits of its type"),
    Case("attachment.limits_unkept", ERROR, "volume {volume} is attached to {attached} by {by}, which cannot keep clients to "
         "limits; its type says {wanted}", "detach it, and attach it by another transport", _limits_unkept),
    Case("attachment.export_surplus", WARNING, "attachment {id} of volume {volume} is {status}, not exported by {protocol} "
         "according to its row, and has such an export", "remove the export (--fix)", _surplus,
         fix="remove the export that the row does not call for"),
    Case("export.without_row", WARNING, "export {id} by {protocol} has no attachment", "remove it (--fix)", _without_row,
         fix="end the access of an attachment that does not exist"),
    Case("export.orphan", WARNING, "the target of volume {id} by {protocol} has no attachment", "remove it (--fix)",
         _orphan, fix="remove a target that no attachment has"),
    Case("attachment.no_session", WARNING, "volume {volume} is attached to {attached} by {by}, but no session of "
         "{initiator} is logged in", "log in there again, or detach the volume", _no_session),
    Case("attachment.unknown_session", WARNING, "{initiators} is logged in to the target of volume {volume}, and no "
         "attachment names it", "log it out there; its access is refused from its next login on", _unknown_session),
    Case("attachment.unrecorded_end", NOTE, "the access of attachment {id} to volume {volume} was ended, and the database "
         "could not take it", "none: it is recorded when the database takes it", _unrecorded),
    Case("volume.device_left", WARNING, "{path} of this host is volume {id} by attachment {attachment}, which does not "
         "exist", "nbdsvc detach {id}", _device),
)  # fmt: skip

OF_ROWS = (
    Case("attachment.volume_gone", ERROR, "attachment {id} is of volume {volume}, which has no row",
         "restore the database from a backup", _volume_gone),
    Case("attachment.stuck", ERROR, "attachment {id} of volume {volume} to {attached} is detaching, and no operation works "
         "on it", "detach it again (--fix)", _stuck, fix="detach it again"),
    Case("attachment.failed", NOTE, "attachment {id} of volume {volume} to {attached} is {status}",
         "detach it", _failed),
)  # fmt: skip
