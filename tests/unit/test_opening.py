"""What the data path opens for a location, and by what the journal of a copy knows it."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.opening import nbd_uri, target_of
from nbdsvc.location import Location
from nbdsvc.volumes.fill import fingerprint_of

ID = "6a1f0c1e-2222-4333-8444-123456789abc"
# Any name that a file can have, also one that is no UTF-8.
PATHS = st.one_of(st.text(min_size=1, max_size=20).map(os.fsencode), st.binary(min_size=1, max_size=20)).map(
    lambda name: os.fsdecode(b"/" + name.replace(b"\0", b""))
)
ADDRESSES = st.sampled_from(
    ["nbds://h1/disk", "nbds://me@h1:10810/", "nbds+unix:///disk?socket=/run/a?b", "nbds://h1/x?", "nbds://h1/#part"]
)


@given(ADDRESSES, PATHS)
def test_the_key_file_is_the_last_parameter(address: str, file: str) -> None:
    """libnbd, which decodes %XX and no +, reads the name of the file as it was; the rest of the URI stays."""
    uri = nbd_uri(Location("nbd", address, {"tls_psk_file": file}))
    plain, parts = urlsplit(address.partition("#")[0]), urlsplit(uri)
    *others, last = parts.query.split("&")
    name, _, value = last.partition("=")
    assert (name, unquote_to_bytes(value)) == ("tls-psk-file", os.fsencode(file))
    assert parse_qsl("&".join(others)) == parse_qsl(plain.query)
    assert (parts.scheme, parts.netloc, parts.path) == (plain.scheme, plain.netloc, plain.path)
    assert parts.fragment == ""


@given(ADDRESSES)
def test_without_a_key_the_uri_is_the_address(address: str) -> None:
    """Nothing is added to the address of a location without options."""
    assert target_of(Location("nbd", address)) == address


def test_a_path_is_opened_as_it_is() -> None:
    """Characters that a URI would quote stay."""
    for made in (Location.file, Location.block):
        assert target_of(made(Path("/a b?c#d"))) == Path("/a b?c#d")


def test_what_cannot_be_opened_is_refused_by_its_scheme() -> None:
    """RBD is Unsupported as a source and as a sink; the error names scheme and address."""
    for opening in (sources.open, sinks.open):
        with pytest.raises(errors.Unsupported, match=r"scheme rbd: volumes/a"):
            opening(Location("rbd", "volumes/a"))


def test_a_local_source_is_known_by_the_bytes_of_older_versions() -> None:
    """The last 32 bytes of the name, so that a copy that an older version began goes on after an upgrade."""
    for made in (Location.file, Location.block):
        assert fingerprint_of(made(Path(f"/dev/g/volume-{ID}"))) == b"0c1e-2222-4333-8444-123456789abc"
        assert fingerprint_of(made(Path("/pool/b/short"))) == b"short"


@given(st.lists(st.uuids(), min_size=2, max_size=2, unique=True))
def test_other_addresses_are_other_sources(ids: list[object]) -> None:
    """Addresses that differ, wherever they do, have fingerprints that differ, of 32 bytes each."""
    one, other = ids
    of_all = [
        fingerprint_of(each)
        for each in (
            Location("nbd", f"nbd://{one}/disk"),
            Location("nbd", f"nbd://{other}/disk"),
            Location("nbd", f"nbd://h/{one}"),
            Location("rbd", f"volumes/{one}"),
            Location("rbd", f"volumes/{other}"),
            Location("rbd", f"volumes/{one}@s"),
        )
    ]
    assert len(set(of_all)) == len(of_all)
    assert {len(each) for each in of_all} == {32}
