"""Planted differences of attachments, exports, targets and sessions."""

import json
from dataclasses import replace

from planting import INITIATOR, Planted
from plants import case

from nbdsvc.exporter import Access, ExportSpec, LimitingExporter
from nbdsvc.location import Location
from nbdsvc.model import names

# Attachments, exports, targets and sessions


@case("attachment.export_sick")
def _server_killed(w: Planted) -> str:
    id = w.attach(w.volume(), "nbd")
    w.export(id).end_process()
    return id


@case("attachment.export_gone")
def _server_and_note_gone(w: Planted) -> str:
    id = w.attach(w.volume(), "nbd")
    w.export(id).end_process()
    w.export(id).remove()
    return id


@case("attachment.note_damaged")
def _note_damaged(w: Planted) -> str:
    id = w.attach(w.volume(), "nbd")
    w.export(id).spec_path.write_text('{"version": 2, "loc')
    return id


@case("attachment.note_damaged")
def _note_of_a_target_damaged(w: Planted) -> str:
    id = w.attach(w.volume())
    (w.state / "exports" / f"{id}.lio").write_text("")
    return id


@case("attachment.export_sick")
def _target_disabled(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume)
    w.lio.targets[w.iqn(volume)] = replace(w.lio.targets[w.iqn(volume)], enabled=False)
    return id


@case("attachment.export_sick")
def _target_and_backstore_gone(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume)
    del w.lio.targets[w.iqn(volume)]
    del w.lio.objects[names.volume_name(volume)]
    return id


def _limited(w: Planted, volume: str) -> None:
    """Its type has QoS specs now, and nothing was done about it."""
    specs = """'q', 'q', 'back-end', '{"read_iops_sec": "7"}', created_at"""
    w.sql(f"INSERT INTO qos_specs (id, name, consumer, specs, created_at) SELECT {specs} FROM volumes LIMIT 1")
    columns, kind = "id, name, extra_specs, projects, is_public, qos_specs_id", "'t', 't', '{}', '[]', 1, 'q'"
    w.sql(f"INSERT INTO volume_types ({columns}, created_at) SELECT {kind}, created_at FROM volumes LIMIT 1")
    w.sql("UPDATE volumes SET volume_type_id = 't' WHERE id = ?", volume)


@case("attachment.limits_differ")
def _limits_of_an_export_differ(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume, "nbd")
    _limited(w, volume)
    return id


@case("attachment.limits_differ")
def _export_with_limits_of_its_own(w: Planted) -> str:
    id = w.attach(w.volume(), "nbd")
    exporter = w.host.exporter("nbd")
    assert isinstance(exporter, LimitingExporter)
    exporter.limit_clients(id, {"total_bytes_sec": 5})
    return id


@case("attachment.limits_unkept")
def _limits_by_a_transport_without(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume)
    _limited(w, volume)
    return id


@case("attachment.export_surplus")
def _exported_and_not_by_its_row(w: Planted) -> str:
    id = w.attach(w.volume())
    w.sql("UPDATE attachments SET exported = 0 WHERE id = ?", id)
    return id


def _spec(w: Planted, volume: str) -> ExportSpec:
    location = Location.file(w.path(volume))
    access = Access(network=True, needs_secret=True, initiators=(INITIATOR,), sharing_key=INITIATOR)
    return ExportSpec(names.new_id(), volume, location, access, secret="ab" * 32)


@case("export.without_row")
def _export_too_many(w: Planted) -> str:
    spec = _spec(w, w.volume())
    w.host.exporter("iscsi").ensure(spec)
    return spec.id


@case("export.orphan")
def _target_too_many(w: Planted) -> str:
    spec = _spec(w, w.volume())
    w.host.exporter("iscsi").ensure(spec)
    (w.state / "exports" / f"{spec.id}.lio").unlink()
    return spec.volume_id


@case("host.exporter_broken")
def _note_of_a_newer_service(w: Planted) -> str:
    note = {"version": 99, "volume_id": names.new_id(), "location": {}}
    (w.state / "exports" / f"{names.new_id()}.lio").write_text(json.dumps(note))
    return "me"


@case("attachment.no_session")
def _no_session(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume)
    w.lio.logged_in[w.iqn(volume)] = frozenset()
    return id


@case("attachment.unknown_session")
def _unknown_session(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume)
    w.lio.logged_in[w.iqn(volume)] = frozenset({INITIATOR, "iqn.2026-11.org.example:intruder"})
    return id


@case("attachment.unrecorded_end")
def _unrecorded_end(w: Planted) -> str:
    id = w.attach(w.volume())
    w.host.ended.add(id, "attachment.delete")
    return id


@case("attachment.volume_gone")
def _attachment_without_volume(w: Planted) -> str:
    volume = w.volume()
    id = w.attach(volume, "nbd")
    w.path(volume).unlink()
    w.sql("UPDATE attachments SET exported = 0 WHERE id = ?", id)
    w.sql("DELETE FROM volumes WHERE id = ?", volume)
    w.export(id).end_process()
    w.export(id).remove()
    return id


@case("attachment.stuck")
def _attachment_stuck(w: Planted) -> str:
    id = w.attach(w.volume())
    w.sql("UPDATE attachments SET status = 'detaching' WHERE id = ?", id)
    return id


@case("attachment.failed")
def _attachment_failed(w: Planted) -> str:
    id = w.attach(w.volume())
    w.sql("UPDATE attachments SET status = 'error_detaching' WHERE id = ?", id)
    return id
