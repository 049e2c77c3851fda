"""Who is logged in, by what the kernel's LIO writes."""

from pathlib import Path

from nbdsvc.exports.lio.kernel import logged_in


def test_sessions_are_what_the_kernel_says_of_node_acls(tmp_path: Path) -> None:
    """An initiator is logged in whose session is up; of a target that is gone that is unknown."""
    shown = {
        "iqn.up": "InitiatorName: iqn.up\nLIO Session ID: 3   TSIH: 3  SessionType: Normal\n"
        "Session State: TARG_SESS_STATE_LOGGED_IN\n",
        "iqn.lost": "InitiatorName: iqn.lost\nSession State: TARG_SESS_STATE_FAILED\n",
        "iqn.none": "No active iSCSI Session for Initiator Endpoint: iqn.none\n",
    }
    for name, info in shown.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "info").write_text(info)
    assert logged_in(tmp_path) == {"iqn.up"}
    assert logged_in(tmp_path / "gone") is None
