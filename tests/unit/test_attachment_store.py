"""The records of attached volumes."""

from pathlib import Path

from nbdsvc.connectors.attachment_store import Attached, AttachmentStore


def test_a_record_that_goes_while_they_are_listed_is_left_out(tmp_path: Path) -> None:
    """One that is listed and not there when it is read was detached meanwhile; the others are reported."""
    store = AttachmentStore(tmp_path)
    store.write(Attached("v", "a", "/dev/x", "k"))
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert [found.volume_id for found in store.all()] == ["v"]
