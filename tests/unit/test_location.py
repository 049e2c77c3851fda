"""Locations: any that is made comes back from its JSON; one that is malformed, or holds a secret, is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.location import Location

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._ äß%", min_size=1, max_size=20).filter(
    lambda name: name.strip(".")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: Path("/", *parts))
LOCATIONS = st.one_of(
    PATHS.map(Location.file),
    PATHS.map(Location.block),
    st.builds(
        lambda name, psk: Location("nbd", f"nbds://h1:10809/{name}", {"tls_psk_file": str(psk)}), st.uuids(), PATHS
    ),
    st.builds(lambda image, conf: Location("rbd", f"volumes/{image}", {"conf": str(conf)}), st.uuids(), PATHS),
)


@given(LOCATIONS)
def test_every_location_comes_back_from_its_json(location: Location) -> None:
    """What a note on disk keeps of a location is all of it."""
    assert Location.from_json(json.loads(json.dumps(location.to_json()))) == location


@given(PATHS)
def test_a_local_one_has_its_path(path: Path) -> None:
    """A file or block device has its path on this host."""
    assert Location.file(path).path == path
    assert Location.block(path).path == path


def test_an_address_has_no_path() -> None:
    """The path of an address is Unsupported."""
    with pytest.raises(errors.Unsupported, match="no path of this host"):
        _ = Location("nbd", "nbd://h1/x").path


@pytest.mark.parametrize(
    ("noted", "reason"),
    [
        ({"scheme": "iscsi", "address": "iqn.x"}, "must be one of file, block, nbd, rbd"),
        ({"scheme": "file", "address": "volumes/x"}, "no absolute path"),
        ({"scheme": "block", "address": "/dev/x", "options": {"conf": "/c"}}, "no option conf"),
        ({"scheme": "nbd", "address": "http://h1/x"}, "must begin with nbd"),
        ({"scheme": "nbd", "address": "nbds://me:hunter2@h1/x"}, "holds a password"),
        ({"scheme": "nbd", "address": "nbd://[::1/x"}, "no URI"),
        ({"scheme": "nbd", "address": "nbd://h1/x", "options": {"tls_psk_file": "/k"}}, "a pre-shared key needs nbds"),
        ({"scheme": "rbd", "address": "image"}, "not POOL/IMAGE"),
        ({"scheme": "rbd", "address": "pool/image", "options": {"key": "AQ=="}}, "no option key"),
    ],
)
def test_what_is_no_location_is_refused_and_no_secret_is_told(noted: dict[str, object], reason: str) -> None:
    """Scheme, address and options are checked, and the error names no password."""
    with pytest.raises(ValueError, match=reason) as refused:
        Location.from_json(noted)
    assert "hunter2" not in str(refused.value)
