"""Which addresses a project's URL may lead to."""

import pytest

from nbdsvc.images.http.reach import Reach

INNER = """127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 240.0.0.1
    255.255.255.255 192.0.2.1 198.18.0.1 :: ::1 fe80::1 fe80::1%eth0 fc00::1 fd12::1 ff02::1 2001:db8::1 ::ffff:127.0.0.1
    ::ffff:10.0.0.1 ::7f00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1::1 fec0::1""".split()
OUTER = "1.1.1.1 93.184.216.34 2606:4700:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::".split()


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_are_refused_unless_listed(address: str) -> None:
    """Loopback, link-local, private, shared, multicast and reserved ones, also inside of IPv6: only by network or by name."""
    assert not Reach().allows("h", address)
    assert Reach.parse(["H"]).allows("h", address)
    assert not Reach.parse(["other"]).allows("h", address)


@pytest.mark.parametrize("address", OUTER)
def test_public_addresses_are_allowed(address: str) -> None:
    """As they are, and inside of IPv6."""
    assert Reach().allows("h", address)


def test_networks_are_listed_in_either_family() -> None:
    """A network of IPv4 covers the same addresses written as IPv6; literals and names of this host need no resolving."""
    reach = Reach.parse(["10.0.0.0/8", "fd00::/8", " ::1 "])
    assert reach.allows("h", "::ffff:10.9.9.9")
    assert reach.allows("h", "fd12::5")
    assert not reach.allows("h", "192.168.0.1")
    assert not reach.refuses_literal("::1")
    assert reach.refuses_literal("127.0.0.1")
    assert reach.refuses_literal("localhost")
    assert not reach.refuses_literal("images.example")


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "", "http://h", "a b", "h:80"])
def test_what_is_neither_network_nor_name_is_refused(wrong: str) -> None:
    """With the wrong text."""
    with pytest.raises(ValueError, match="neither a network nor"):
        Reach.parse([wrong])
