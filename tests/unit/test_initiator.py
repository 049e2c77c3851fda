"""What this host's side of iSCSI decides without a session."""

import pytest

from nbdsvc.connectors.host import HostConnector
from nbdsvc.connectors.iscsi import BrickIscsi, initiator_name, with_password

RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2010-10.org.openstack:volume-1
node.session.auth.authmethod = CHAP
node.session.auth.password = old
node.session.auth.password_in = kept
# END RECORD
"""


def test_a_password_is_written_once_and_inside_the_record() -> None:
    """The old one goes, others stay, the end stays the end; twice is once."""
    written = with_password(RECORD, "new")
    without = RECORD.replace("node.session.auth.password = old\n", "")
    assert written == without.replace("# END", "node.session.auth.password = new\n# END")
    assert with_password(written, "new") == written
    assert with_password("a = b\n", "new") == "a = b\nnode.session.auth.password = new\n"


def test_an_nbd_export_is_not_for_it() -> None:
    """It serves iSCSI and nothing else."""
    assert not BrickIscsi().serves({"driver_volume_type": "nbd", "uri": "nbd://h/x"})


@pytest.mark.row("S129")
def test_the_connector_says_what_a_transport_asks_for() -> None:
    """Host, address, initiator's name as open-iscsi has it, and whether multipath runs."""
    described = HostConnector().describe()
    assert {"host", "ip", "initiator", "multipath", "platform", "os_type"} <= set(described)
    assert described["initiator"] == initiator_name()
    assert isinstance(described["multipath"], bool)
