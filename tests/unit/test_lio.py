"""Decisions about LIO, over the simulator: whatever is lost or half-made, and wherever it is killed, the desired state is there after."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from machines import machine_test

from nbdsvc import errors
from nbdsvc.exporter import Access, Connector, Exporter, ExportSpec, Inventory
from nbdsvc.exports.lio import LioExporter, chap
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.plan import MappedLun, NodeAcl, Portal, Target
from nbdsvc.exports.lio.portals import parse
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

PREFIX = "iqn.2010-10.org.openstack:"
HOSTS = [f"iqn.2026-11.org.example:host{number}" for number in range(3)]
PORTALS = ("192.0.2.1", "[2001:db8::1]:3261")
SOMEWHERE = Location.file(Path("/volume"))


def access_of(initiator: str, multipath: bool = False) -> Access:
    """Of a connector with this initiator, as the exporter takes it."""
    return Access(network=True, needs_secret=True, initiators=(initiator,), multipath=multipath)


class Killed(BaseException):
    """SIGKILL of the process, as far as the simulator can do it."""


class Countdown:
    """Lets so many writes pass, then kills; None: lets all pass."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class Storage:
    """A host with LIO and files for volumes; `service` is what a new process of nbdsvc there has."""

    def __init__(self, folder: Path, portals: tuple[str, ...] = PORTALS) -> None:
        self.folder = folder
        self.kill = Countdown()
        self.lio = MemoryLio(self.kill)
        self.portals = portals
        self.exporter = self.service()

    def service(self) -> LioExporter:
        return LioExporter(self.folder / "exports", self.lio, parse(self.portals), PREFIX, 512, write_through=True)

    def spec(self, volume: str | None = None, initiator: str = HOSTS[0], **given: Any) -> ExportSpec:
        volume = volume or names.new_id()
        path = self.folder / volume
        if not path.exists():
            path.touch()
            os.truncate(path, MiB)
        secret = {"secret": os.urandom(32).hex(), **given}
        return ExportSpec(names.new_id(), volume, Location.file(path), access_of(initiator), **secret)

    def target(self, volume: str) -> Target | None:
        return self.lio.targets.get(f"{PREFIX}volume-{volume}")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


class Machine(RuleBasedStateMachine):
    """Attachments come and go on two volumes; LIO loses parts, its host restarts, unknown initiators are let in, we are killed."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lio-")
        self.storage = Storage(Path(self.folder.name))
        self.volumes = [names.new_id(), names.new_id()]
        self.wanted_exports: dict[str, ExportSpec] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    def _try(self, kill: int | None, do: Any) -> None:
        """Do it; when it is killed on the way, a new process does it again."""
        self.storage.kill.left = kill
        try:
            do()
        except Killed:
            self.storage.exporter = self.storage.service()
            do()
        finally:
            self.storage.kill.left = None

    @rule(volume=st.integers(0, 1), host=st.sampled_from(HOSTS), read_only=st.booleans(),
          kill=st.none() | st.integers(0, 20))  # fmt: skip
    def attach(self, volume: int, host: str, read_only: bool, kill: int | None) -> None:
        id = self.volumes[volume]
        others = [
            spec for spec in self.wanted_exports.values() if (spec.volume_id, spec.access.initiators) == (id, (host,))
        ]
        shared = {"secret": others[0].secret} if others else {}
        spec = self.storage.spec(id, host, read_only=read_only, **shared)
        if any(other.read_only != read_only for other in others):
            with pytest.raises(errors.Conflict, match="cannot have both"):
                self.storage.exporter.ensure(spec)
            return
        self._try(kill, lambda: self.storage.exporter.ensure(spec))
        self.wanted_exports[spec.id] = spec

    @rule(which=st.integers(0, 9), kill=st.none() | st.integers(0, 20))
    def detach(self, which: int, kill: int | None) -> None:
        if self.wanted_exports:
            id = sorted(self.wanted_exports)[which % len(self.wanted_exports)]
            self._try(kill, lambda: self.storage.exporter.remove(id))
            del self.wanted_exports[id]

    @rule(what=st.sampled_from(["acls", "passwords", "luns", "portals", "enabled", "attributes", "all", "foreign",
                                "protection", "extra portal", "serial"]), kill=st.none() | st.integers(0, 20))  # fmt: skip
    def harm(self, what: str, kill: int | None) -> None:
        """Something of LIO's is lost or changed; a repair of each attachment brings it back."""
        for iqn, target in list(self.storage.lio.targets.items()):
            self.storage.lio.targets[iqn] = _harmed(target, what)
        if what == "serial":
            objects = self.storage.lio.objects
            objects.update({name: dataclasses.replace(found, serial="other") for name, found in objects.items()})
        if what == "all":
            self.storage.lio.targets.clear()
            self.storage.lio.objects.clear()
        if what not in ("acls", "passwords", "luns", "protection") or self.wanted_exports:
            assert all(not self.storage.exporter.health(id).ok for id in self.wanted_exports)
        for spec in self.wanted_exports.values():
            self._try(kill, lambda spec=spec: self.storage.exporter.ensure(spec))

    @rule(volume=st.integers(0, 1), size=st.integers(1, 8))
    def extend(self, volume: int, size: int) -> None:
        path = self.storage.folder / self.volumes[volume]
        if path.exists():
            os.truncate(path, max(path.stat().st_size, size * MiB))
            for spec in self.wanted_exports.values():
                self.storage.exporter.resize(spec.id, path.stat().st_size)

    @invariant()
    def exactly_what_is_owed(self) -> None:
        if not hasattr(self, "wanted_exports"):
            return
        exporter = self.storage.exporter
        assert exporter.inventory() == Inventory(tuple(sorted(self.wanted_exports)))
        assert all(exporter.health(id).ok for id in self.wanted_exports)
        for volume in self.volumes:
            wanted_here = [spec for spec in self.wanted_exports.values() if spec.volume_id == volume]
            target, backstore = self.storage.target(volume), self.storage.lio.objects.get(f"volume-{volume}")
            if not wanted_here:
                assert (target, backstore) == (None, None)
                continue
            assert target and backstore and target.enabled
            seen = {(a.initiator, a.user, a.password, a.mapped) for a in target.accesses}
            assert seen == {(s.access.initiators[0], chap.user(s.secret), chap.password(s.secret),
                             (MappedLun(0, s.read_only),)) for s in wanted_here}  # fmt: skip
            assert len(seen) == len(target.accesses)
            assert dict(target.attributes)["authentication"] == "1"
            assert target.portals == set(parse(PORTALS))
            assert (backstore.serial, backstore.source.size) == (volume, wanted_here[0].location.path.stat().st_size)


def _harmed(target: Target, what: str) -> Target:
    foreign = NodeAcl("iqn.2026-11.org.example:foreign", "u", "p", (MappedLun(0, False),))
    changes: dict[str, dict[str, Any]] = {
        "acls": {"accesses": frozenset()},
        "passwords": {"accesses": frozenset(dataclasses.replace(a, password="x") for a in target.accesses)},
        "protection": {"accesses": frozenset(
            dataclasses.replace(a, mapped=(MappedLun(0, not a.mapped[0].read_only),)) for a in target.accesses)},
        "luns": {"luns": frozenset(), "accesses": frozenset(
            dataclasses.replace(a, mapped=()) for a in target.accesses)},
        "portals": {"portals": frozenset()},
        "extra portal": {"portals": target.portals | {Portal("198.51.100.1", 3260)}},
        "enabled": {"enabled": False},
        "attributes": {"attributes": ()},
        "foreign": {"accesses": target.accesses | {foreign}},
    }  # fmt: skip
    return dataclasses.replace(target, **changes.get(what, {}))


test_machine = pytest.mark.row("S067", "S068", "S069")(
    machine_test(Machine, settings(max_examples=150, stateful_step_count=20, deadline=None))
)


def test_killed_at_every_write_nothing_is_reachable_that_should_not_be(storage: Storage) -> None:
    """At every kill of making and removing two attachments: no target is enabled without passwords, and nothing of ours
    is without its backstore, by which it would be found."""
    first, second = storage.spec(), None
    for steps in range(60):
        second = storage.spec(first.volume_id, HOSTS[1], read_only=True)
        storage.kill.left = steps
        try:
            storage.exporter.ensure(first)
            storage.exporter.ensure(second)
            storage.exporter.remove(first.id)
            storage.exporter.remove(second.id)
        except Killed:
            _assert_safe(storage, first.volume_id)
            storage.exporter = storage.service()
            there = storage.exporter.inventory()
            for id in there.exports + there.orphans:
                storage.exporter.remove(id)
            assert (storage.lio.targets, storage.lio.objects) == ({}, {})
        else:
            break
    assert 20 < steps < 59
    storage.kill.left = None


def _assert_safe(storage: Storage, volume: str) -> None:
    target = storage.target(volume)
    if target is None:
        return
    assert f"volume-{volume}" in storage.lio.objects
    if target.enabled:
        assert dict(target.attributes)["authentication"] == "1"
        assert all(access.password and access.user for access in target.accesses if access.mapped)


def test_a_volume_whose_notes_are_lost_is_found_and_removed(storage: Storage) -> None:
    """Without its note a target of ours is listed by its volume's id; another program's backstore is not ours."""
    spec = storage.spec()
    storage.exporter.ensure(spec)
    foreign = names.new_id()
    mine = storage.lio.objects[f"volume-{spec.volume_id}"]
    storage.lio.objects[f"volume-{foreign}"] = dataclasses.replace(mine, name=f"volume-{foreign}", serial="cinder's")
    (storage.folder / "exports" / f"{spec.id}.lio").unlink()
    assert storage.exporter.inventory() == Inventory((), (spec.volume_id,))
    storage.exporter.remove(spec.volume_id)
    assert (list(storage.lio.objects), storage.lio.targets) == ([f"volume-{foreign}"], {})


@pytest.mark.row("S120", "S121", "S122", "S123", "S029")
def test_connection_info(tmp_path: Path) -> None:
    """Cinder's keys; lists as long as there are portals, when there are several or the connector can multipath."""
    one, two = Storage(tmp_path / "1", ("192.0.2.1",)), Storage(tmp_path / "2")
    for made in (one, two):
        made.folder.mkdir(exist_ok=True)
    spec = one.spec(secret="5a" * 32)
    iqn = f"iqn.2010-10.org.openstack:volume-{spec.volume_id}"
    plain = {
        "target_discovered": False, "target_iqn": iqn, "target_portal": "192.0.2.1:3260", "target_lun": 0,
        "volume_id": spec.volume_id, "auth_method": "CHAP", "auth_username": chap.user("5a" * 32),
        "access_mode": "rw", "discard": True, "logical_block_size": 512,
    }  # fmt: skip
    info = one.exporter.ensure(spec)
    assert (info.to_json(), info.location) == (
        {"driver_volume_type": "iscsi", "data": plain}, f"192.0.2.1:3260,1 {iqn} 0")  # fmt: skip
    assert one.exporter.with_secret(info, "5a" * 32).data == plain | {"auth_password": chap.password("5a" * 32)}
    info = one.exporter.ensure(dataclasses.replace(spec, access=access_of(HOSTS[0], multipath=True)))
    assert info.data == plain | {
        "target_portals": ["192.0.2.1:3260"], "target_iqns": [iqn], "target_luns": [0]}  # fmt: skip
    other = two.exporter.ensure(two.spec())
    assert (other.location or "").startswith("192.0.2.1:3260;[2001:db8::1]:3261,1 iqn.")
    data = other.data
    assert data["target_portals"] == ["192.0.2.1:3260", "[2001:db8::1]:3261"]
    assert (data["target_iqns"], data["target_luns"]) == ([data["target_iqn"]] * 2, [0, 0])
    assert data["target_portal"] == "192.0.2.1:3260"


@pytest.mark.row("S125", "S072", "S070")
@pytest.mark.parametrize(
    "initiator", [None, "", 7, "host", "iqn.2026-11.example", "iqn.2026-11.org.example:../..", "iqn.2026-11.org.example:a/b",
                  "iqn.2026-11.org.example:" + "x" * 230, "iqn.2026-11.org.example:a b", "eui.12", "iqn.2026-11.org.ex\nx"],
)  # fmt: skip
def test_an_initiator_that_is_none_is_named(storage: Storage, initiator: Any) -> None:
    """What is missing, no iSCSI name, or would leave LIO's folders is refused by name."""
    with pytest.raises(errors.InvalidInput, match=r"connector\.initiator"):
        storage.exporter.accept(Connector.parse({"host": "h", "initiator": initiator}), SOMEWHERE)


@pytest.mark.parametrize("initiator", [HOSTS[0], "iqn.1993-08.org.debian:01:abc-DEF", "eui.0123456789abcdef"])
def test_initiators_of_the_field_are_taken(storage: Storage, initiator: str) -> None:
    """Also with capitals, which iSCSI takes for small letters."""
    access = storage.exporter.accept(Connector.parse({"initiator": initiator}), SOMEWHERE)
    spec = dataclasses.replace(storage.spec(), access=access)
    storage.exporter.ensure(spec)
    target = storage.target(spec.volume_id)
    assert target and [access.initiator for access in target.accesses] == [initiator.lower()]


def test_a_missing_portal_is_named_and_the_others_serve(storage: Storage) -> None:
    """An attach fails and leaves nothing; a repair brings up the portals that are there, says which is not, and once it
    is, adds it."""
    lost = Portal("192.0.2.1", 3260)
    storage.lio.absent = {lost}
    spec = storage.spec()
    with pytest.raises(errors.ExportFailed, match=r"192\.0\.2\.1:3260: Cannot assign"):
        storage.exporter.ensure(spec)
    assert (storage.exporter.inventory(), storage.lio.targets, storage.lio.objects) == (Inventory(), {}, {})
    storage.lio.absent = set()
    storage.exporter.ensure(spec)
    storage.lio.targets.clear()
    storage.lio.objects.clear()
    storage.lio.absent = {lost}
    with pytest.raises(errors.ExportFailed, match=r"192\.0\.2\.1"):
        storage.exporter.ensure(spec)
    target = storage.target(spec.volume_id)
    assert target and target.enabled and target.portals == {Portal("[2001:db8::1]", 3261)}
    assert not storage.exporter.health(spec.id).ok
    storage.lio.absent = set()
    storage.exporter.ensure(spec)
    assert storage.exporter.health(spec.id).ok


def test_a_volume_that_is_not_there_is_refused_but_can_be_detached(storage: Storage) -> None:
    """No target for a path that does not exist; a path that went away keeps no access."""
    spec, other = storage.spec(), None
    other = storage.spec(spec.volume_id, HOSTS[1])
    storage.exporter.ensure(spec)
    storage.exporter.ensure(other)
    spec.location.path.unlink()
    assert not storage.exporter.health(spec.id).ok
    storage.exporter.remove(spec.id)
    target = storage.target(spec.volume_id)
    assert target and [access.initiator for access in target.accesses] == [HOSTS[1]]
    storage.exporter.remove(other.id)
    assert storage.target(spec.volume_id) is None
    with pytest.raises(errors.ExportFailed, match="no volume at"):
        storage.exporter.ensure(spec)
    assert storage.exporter.inventory() == Inventory()


@pytest.mark.parametrize(
    ("written", "portals"),
    [(("192.0.2.1",), [("192.0.2.1", 3260)]), (("192.0.2.1:860", "fd00::1"), [("192.0.2.1", 860), ("[fd00::1]", 3260)]),
     ((" [fd00::1]:860 ",), [("[fd00::1]", 860)]), (("[fd00:0::1]",), [("[fd00::1]", 3260)])],
)  # fmt: skip
def test_portals(written: tuple[str, ...], portals: list[tuple[str, int]]) -> None:
    """IPv4 and IPv6, with and without a port, as LIO writes them."""
    assert parse(written) == [Portal(*each) for each in portals]


@pytest.mark.parametrize(
    "written",
    [
        (),
        ("",),
        ("host",),
        ("0.0.0.0", "192.0.2.1"),
        ("0.0.0.0", "::"),
        ("192.0.2.1:0",),
        ("192.0.2.1:x",),
        ("192.0.2.1",) * 2,
    ],
)
def test_portals_that_are_none(written: tuple[str, ...]) -> None:
    """A name, all addresses and another one, a port out of range, the same twice, and none: the setting is named."""
    with pytest.raises(errors.ConfigError, match="iscsi_portals"):
        parse(written)


def test_credentials() -> None:
    """As long as Cinder's, never NULL, different for each secret, and not in a repr."""
    seen = {chap.password(os.urandom(32).hex()) for _ in range(500)}
    assert len(seen) == 500
    assert {len(each) for each in seen} == {16}
    secret = "ab" * 32
    assert len(chap.user(secret)) == 20
    # One in 256 would begin like that (drivers/target/iscsi/iscsi_target_nego.c, extract_param).
    assert not [
        user for number in range(4096) if (user := chap.user(f"{number:064x}")).startswith(("0b", "0x", "NULL"))
    ]
    access = NodeAcl("iqn", chap.user(secret), chap.password(secret), ())
    assert chap.password(secret) not in repr(access)


def test_it_is_an_exporter(storage: Storage) -> None:
    """It has all that the contract asks for, and its notes are readable by their owner only."""
    assert isinstance(storage.exporter, Exporter)
    spec = storage.spec()
    storage.exporter.ensure(spec)
    (note,) = (storage.folder / "exports").iterdir()
    assert (note.stat().st_mode & 0o777, note.parent.stat().st_mode & 0o777) == (0o600, 0o700)
