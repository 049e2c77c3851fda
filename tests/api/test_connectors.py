"""The connectors of hosts that attach: connectors from two keys to all of os-brick's."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backends import INITIATOR, SIMULATED_LIO
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import ServiceProcess

from nbdsvc import errors

# The two keys that Cinder's drivers need.
LEAST = {"ip": "192.0.2.9", "initiator": INITIATOR}
# All that os-brick 6 says of a host with every transport (initiator/connector.py, get_connector_properties), and what its
# callers add.
BRICK = {
    "platform": "x86_64", "os_type": "linux", "ip": "192.0.2.9", "host": "hyper1", "multipath": True, "enforce_multipath": True,
    "initiator": INITIATOR, "wwpns": ["21000024ff2f1a5c", "21000024ff2f1a5d"], "wwnns": ["20000024ff2f1a5c", "20000024ff2f1a5d"],
    "nqn": "nqn.2014-08.org.nvmexpress:uuid:beaae2de-3a97-4be1-a739-6ac4bc5bf138", "nvme_hostid": None, "uuid": None,
    "system uuid": "4c4c4544-0043-5810-8043-b3c04f4b5132", "nvme_native_multipath": False, "found_dsc": "",
    "do_local_attach": False, "mountpoint": "/dev/vdb", "mode": "rw",
}  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_ ", min_size=1, max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)
MORE = st.dictionaries(st.text("abcdefgh_ ", min_size=1, max_size=20), JSON, max_size=8)


@pytest.fixture(scope="module")
def lio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose transport is iSCSI, as far as its API shows it."""
    service = ServiceProcess(tmp_path_factory.mktemp("lio"), SIMULATED_LIO).start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def attach(lio: ServiceProcess) -> Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]:
    """Attaches one volume, looks, and detaches it: connection_info and the connector as it is kept."""
    client = lio.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert lio.wait_status("volumes", volume) == "available"

    def once(connector: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = {"attachment": {"volume_uuid": volume, "connector": connector}}
        made = client.post("attachments", body=fields)["attachment"]
        kept = _kept(lio.state / "nbdsvc.db", made["id"])
        client.delete("attachments", made["id"])
        return made["connection_info"], kept

    return once


def _kept(database: Path, attachment: str) -> dict[str, Any]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        [found] = connection.execute("SELECT connector FROM attachments WHERE id = ?", [attachment]).fetchone()
    return dict(json.loads(found))


Attaching = Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]


@pytest.mark.row("S129")
@pytest.mark.parametrize("connector", [LEAST, BRICK], ids=["Cinder's", "os-brick's"])
def test_connectors_of_the_field(attach: Attaching, connector: dict[str, Any]) -> None:
    """Each is taken and kept whole; multipath and mode are heeded."""
    info, kept = attach(connector)
    assert kept == connector
    assert (info["driver_volume_type"], info["access_mode"]) == ("iscsi", "rw")
    assert ("target_portals" in info) == connector.get("multipath", False)


@pytest.mark.row("S129")
@given(more=MORE)
@settings(max_examples=25, deadline=None)
def test_keys_that_nobody_knows_are_kept_and_change_nothing(attach: Attaching, more: dict[str, Any]) -> None:
    """Those of an os-brick to come."""
    connector = {**more, **LEAST}
    info, kept = attach(connector)
    assert kept == connector
    secret = ("auth_username", "auth_password", "attachment_id")
    assert {key: value for key, value in info.items() if key not in secret} == {
        key: value for key, value in attach(LEAST)[0].items() if key not in secret
    }


@pytest.mark.row("S129", "S125")
def test_keys_of_another_type_are_named(attach: Attaching) -> None:
    """A connector that is no object, and an initiator that is no name."""
    for connector, field in (
        ("hyper1", "connector"),
        ({**BRICK, "initiator": ["a"]}, r"initiator.*in attachment\.connector"),
    ):
        with pytest.raises(errors.RequestError, match=field):
            attach(connector)  # type: ignore[arg-type]
