"""What Glance says of an image: judged before it is used, whatever it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.images.checksum import Checksum
from nbdsvc.images.glance import record
from nbdsvc.images.glance.credentials import load

ID = "00000000-0000-4000-8000-000000000001"
GOOD: dict[str, Any] = {
    "id": ID, "name": "a", "status": "active", "owner": "p", "visibility": "private", "disk_format": "raw",
    "container_format": "bare", "size": 512, "min_disk": 0, "min_ram": 0, "protected": False, "checksum": "0" * 32,
    "os_hash_algo": "sha512", "os_hash_value": "1" * 128, "os_distro": "x", "tags": [], "locations": [],
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=6), st.dictionaries(st.text(max_size=300), JSON))
def test_no_answer_breaks_it(wrong: dict[str, Any], more: dict[str, Any]) -> None:
    """A record, or ValueError; what a volume keeps of it is printable text of at most 255 characters."""
    try:
        found = record.parse({**more, **GOOD, **wrong}, ID)
    except ValueError:
        return
    for key, value in found.metadata().items():
        assert len(key) <= 255
        assert len(value) <= 255
        assert value.isprintable()
    try:
        found.check(1)
    except errors.InvalidInput:
        return
    assert found.status == "active"
    assert found.declared in ("raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx", "ova")


@pytest.mark.parametrize("content", [None, [], "x", {}, {**GOOD, "id": "other"}])
def test_what_is_no_record(content: Any) -> None:
    """ValueError."""
    with pytest.raises(ValueError, match="not the record"):
        record.parse(content, ID)


def test_the_strongest_digest_that_is_one() -> None:
    """SHA-512 before MD5; none of a location, and none of an algorithm that is not known."""

    def digest(**fields: Any) -> Checksum | None:
        return record.parse({**GOOD, **fields}, ID).checksum

    assert digest() == Checksum("sha512", "1" * 128)
    assert digest(os_hash_algo="blake") == Checksum("md5", "0" * 32)
    assert digest(os_hash_value="1") == Checksum("md5", "0" * 32)
    assert digest(os_hash_algo=None, checksum=None) is None


def test_properties_are_those_that_are_not_glances() -> None:
    """Text only, without attributes of every image and Glance's own keys; at most 128."""
    more = {"os_glance_x": "1", "n": 1, "long": "x" * 256, "line": "a\nb"} | {f"p{n:03}": "v" for n in range(200)}
    found = record.parse({**GOOD, **more}, ID).properties
    assert len(found) == 128
    assert not set(found) & {"os_glance_x", "n", "long", "line", "checksum", "owner"}


@pytest.mark.parametrize(("text", "mode", "reason"), [
    ('auth_url = "http://k/v3"\nusername = "u"\npassword = "top-secret"', 0o644, "chmod 600"),
    ('auth_url = "http://k/v3"\nusername = "u"', 0o600, "lacks password"),
    ('auth_url = "ftp://k"\nusername = "u"\npassword = "top-secret"', 0o600, "http(s) URL"),
    ('auth_url = "http://k/v3"\nusername = "u"\npassword = 5', 0o600, "no text"),
    ('auth_url = "http://k/v3"\nusername = "u"\npassword = "top-secret"\nmore = "x"', 0o600, "more"),
    ('password = "top-secret', 0o600, "TOMLDecodeError"),
])  # fmt: skip
def test_a_wrong_file_of_the_service_user(tmp_path: Any, text: str, mode: int, reason: str) -> None:
    """Names the setting and the fault, and shows nothing secret."""
    path = tmp_path / "user.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(errors.ConfigError, match="glance_user_file") as raised:
        load(path)
    assert reason in str(raised.value)
    assert "top-secret" not in str(raised.value)


def test_a_password_is_in_no_repr(tmp_path: Any) -> None:
    """Of the credentials."""
    path = tmp_path / "user.toml"
    path.touch(0o600)
    path.write_text('auth_url = "http://k/v3"\nusername = "u"\npassword = "top-secret"')
    assert "top-secret" not in repr(load(path))
