"""Formats and validation of iSER, Fibre Channel and the fakes, over their simulated targets."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.exporter import Connector, Exporter, ExportSpec, Inventory
from nbdsvc.exports.lio import chap
from nbdsvc.exports.lio.iser import IserExporter
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.portals import parse
from nbdsvc.exports.simulated.fake import FakeTarget
from nbdsvc.exports.simulated.fibre_channel import FibreChannelTarget, parse_ports
from nbdsvc.location import Location
from nbdsvc.model import names

WWNS = {"wwpns": ["21000024ff2f1a5c", "21:00:00:24:FF:2F:1A:5D"], "wwnns": ["20000024ff2f1a5c"]}
INITIATOR = "iqn.2026-11.org.example:me"
SECRET = "5a" * 32


def spec_for(exporter: Exporter, folder: Path, connector: dict[str, Any], **given: Any) -> ExportSpec:
    volume = folder / "volume"
    volume.write_bytes(bytes(4096))
    location = Location.file(volume)
    access = exporter.accept(Connector.parse(connector), location)
    return ExportSpec(names.new_id(), names.new_id(), location, access, **given)


@pytest.mark.row("S126")
def test_iser_is_iscsi_by_another_name(tmp_path: Path) -> None:
    """driver_volume_type iser, its own prefix and portals, CHAP and lists as of iSCSI; its notes are not those of iSCSI."""
    prefix = "iqn.2010-10.org.iser.openstack:"
    exporter = IserExporter(
        tmp_path / "e", MemoryLio(), parse(["192.0.2.7", "192.0.2.8"]), prefix, 512, write_through=True
    )
    spec = spec_for(exporter, tmp_path, {"initiator": INITIATOR}, secret=SECRET)
    info = exporter.ensure(spec)
    iqn = f"{prefix}volume-{spec.volume_id}"
    assert info.driver_volume_type == "iser"
    assert exporter.with_secret(info, SECRET).data | {"auth_username": "u"} == {
        "target_discovered": False, "target_portal": "192.0.2.7:3260", "target_iqn": iqn, "target_lun": 0,
        "target_portals": ["192.0.2.7:3260", "192.0.2.8:3260"], "target_iqns": [iqn] * 2, "target_luns": [0, 0],
        "volume_id": spec.volume_id, "auth_method": "CHAP", "auth_username": "u", "access_mode": "rw", "discard": True,
        "auth_password": chap.password(SECRET), "logical_block_size": 512,
    }  # fmt: skip
    assert [path.suffix for path in (tmp_path / "e").iterdir()] == [".iser"]
    with pytest.raises(errors.InvalidInput, match="iSER needs the initiator"):
        exporter.accept(Connector.parse({}), spec.location)


@pytest.mark.row("S127")
@pytest.mark.parametrize(
    ("ports", "wwn"),
    [(["3000000000000001"], "3000000000000001"),
     (["0x3000000000000001", "30:00:00:00:00:00:00:0A"], ["3000000000000001", "300000000000000a"])],
)  # fmt: skip
def test_fibre_channel_data(tmp_path: Path, ports: list[str], wwn: object) -> None:
    """One port of the target is a text, several are a list; each export has its LUN, and ensured again the same."""
    exporter = FibreChannelTarget(tmp_path / "e", ports)
    spec = spec_for(exporter, tmp_path, WWNS, read_only=True)
    assert spec.access.initiators == ("21000024ff2f1a5c", "21000024ff2f1a5d")
    for _ in range(2):
        info = exporter.ensure(spec)
        assert info.to_json() == {
            "driver_volume_type": "fibre_channel",
            "data": {"target_discovered": True, "target_lun": 1, "target_wwn": wwn, "discard": False,
                     "volume_id": spec.volume_id, "access_mode": "ro"},
        }  # fmt: skip
    found = exporter.find(spec.id)
    assert found and found[0] == spec and found[1] == info


@pytest.mark.row("S128")
@pytest.mark.parametrize(
    ("changes", "field"),
    [({"wwpns": []}, "wwpns"), ({"wwpns": None}, "wwpns"), ({"wwnns": []}, "wwnns"), ({"wwnns": [""]}, "wwnns"),
     ({"wwpns": "", "wwnns": ""}, "wwpns"), ({"wwpns": ["x"]}, "wwpns"), ({"wwpns": ["../../../../etc"]}, "wwpns"),
     ({"wwpns": [f"{n:016x}" for n in range(65)]}, "wwpns"), ({"wwpns": 5}, "wwpns")],
)  # fmt: skip
def test_a_connector_without_ports_is_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    """What is missing, empty or no world wide name is named, and nothing is noted."""
    exporter = FibreChannelTarget(tmp_path / "e", ["3000000000000001"])
    with pytest.raises(errors.InvalidInput, match=rf"connector\.{field}"):
        spec_for(exporter, tmp_path, WWNS | changes)
    assert exporter.inventory() == Inventory()


@given(steps=st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 3), min_size=1), st.booleans()), max_size=25))
def test_no_port_has_a_lun_twice(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    """Whatever comes and goes, also over a restart: exports that share a port differ in their LUN, and keep it."""
    folder = tmp_path_factory.mktemp("fc")
    exporter = FibreChannelTarget(folder / "e", ["3000000000000001"])
    there: dict[int, tuple[ExportSpec, int]] = {}
    for number, ports, adds in steps:
        if number in there:
            spec, lun = there[number]
            assert exporter.ensure(spec).data["target_lun"] == lun
            if not adds:
                exporter.remove(there.pop(number)[0].id)
                exporter = FibreChannelTarget(folder / "e", ["3000000000000001"])
        elif adds:
            spec = spec_for(exporter, folder, {"wwpns": [f"{port:016x}" for port in ports], "wwnns": ["2" * 16]})
            there[number] = spec, exporter.ensure(spec).data["target_lun"]
        seen = [(port, lun) for spec, lun in there.values() for port in spec.access.initiators]
        assert len(seen) == len(set(seen))
    assert set(exporter.inventory().exports) == {spec.id for spec, _ in there.values()}


@pytest.mark.parametrize("ports", [[], ["x"], ["3000000000000001", "30:00:00:00:00:00:00:01"]])
def test_wrong_ports_of_the_target_are_refused(ports: list[str]) -> None:
    """The setting is named."""
    with pytest.raises(errors.ConfigError, match="fc_target_wwpns"):
        parse_ports(ports)


def test_a_damaged_note_is_none_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    """A damaged note is an export that is not there; that of a newer service is not read wrongly."""
    exporter = FakeTarget(tmp_path / "e", "iSCSI", "iqn.2010-10.org.openstack:", "127.0.0.1:3260")
    spec = spec_for(exporter, tmp_path, {"initiator": INITIATOR})
    exporter.ensure(spec)
    path = tmp_path / "e" / f"{spec.id}.fake-iscsi"
    whole = path.read_text()
    path.write_text(whole[:20])
    assert (exporter.find(spec.id), exporter.health(spec.id).ok) == (None, False)
    path.write_text(json.dumps(json.loads(whole) | {"version": 99}))
    with pytest.raises(errors.ExportFailed, match="version 99"):
        exporter.find(spec.id)


NOTE = """{"version": 2, "id": "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01", "volume_id": "0b8a2f6e-6c0e-4f1c-9c59-3f1d0a6f7c11",
"location": {"scheme": "file", "address": "/var/lib/nbdsvc/pool/volume", "options": {}}, "read_only": false,
"initiators": ["21000024ff2f1a5c"], "lun": 3}"""


def test_a_note_of_version_2_is_read(tmp_path: Path) -> None:
    """As this version first wrote it, so that a later one goes on to read it."""
    exporter = FibreChannelTarget(tmp_path, ["3000000000000001"])
    id = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01"
    (tmp_path / f"{id}.fc").write_text(NOTE)
    found = exporter.find(id)
    assert found and (found[0].id, found[0].access.initiators) == (id, ("21000024ff2f1a5c",))
    assert found[1].data["target_lun"] == 3
    exporter.ensure(found[0])
    assert json.loads((tmp_path / f"{id}.fc").read_text()) == json.loads(NOTE)
