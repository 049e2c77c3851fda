"""Which machine a host is: the file of its identity, and when the database takes a machine for the host."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nbdsvc import errors, state_folder
from nbdsvc.backends.machine import Machine
from nbdsvc.host import Backend, Host
from nbdsvc.model import names
from nbdsvc.model.entities import Volume
from nbdsvc.store import hosts, repositories
from nbdsvc.store.database import Database


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"not an identity"])
def test_a_damaged_identity_is_made_anew_once(tmp_path: Path, content: bytes) -> None:
    """A power cut leaves the file empty: it is another machine from then on, and the same one at each start."""
    (tmp_path / "host-h.id").write_bytes(content)
    made = state_folder.identity(tmp_path, "h")
    assert names.is_id(made)
    assert state_folder.identity(tmp_path, "h") == made


def started(database: Database) -> tuple[Host, Volume]:
    """The host h with the backends a and b, which another machine served; a volume is in b, where nothing is any more."""
    driver: Any = SimpleNamespace(list_objects=list)
    backends = {name: Backend(name, driver, ()) for name in ("a", "b")}
    volume = Volume(names.new_id(), "p", "u", size=1, status="available", host="h", backend="b", pool="p")
    with database.write() as conn:
        hosts.identify(conn, "h", "another machine")
        repositories.volumes.insert(conn, volume)
    return Host("h", backends, database, *cast("Any", [None] * 5)), volume


def known(database: Database) -> str:
    with database.read() as conn:
        found = hosts.find(conn, "h")
    return found.identity if found else ""


def test_a_machine_is_the_host_once_every_backend_was_checked(database: Database) -> None:
    """A backend that is silent at the start may lack volumes: the machine is not the host yet, also after a start anew."""
    host, volume = started(database)
    for _ in range(2):
        machine = Machine(host, "this machine")
        machine.check(host.backends["a"])
        machine.accept()
        assert known(database) == "another machine"
    if not database.is_sqlite:
        with pytest.raises(errors.ConfigError, match=volume.id):
            machine.check(host.backends["b"])
        assert known(database) == "another machine"


def test_the_last_backend_that_is_checked_decides(database: Database) -> None:
    """Also behind the start; and where all are checked before, the end of the start does."""
    host, volume = started(database)
    with database.write() as conn:
        repositories.volumes.delete(conn, volume.id)
    machine = Machine(host, "this machine")
    machine.check(host.backends["a"])
    machine.accept()
    machine.check(host.backends["b"])
    assert known(database) == "this machine"
    later = Machine(host, "a third machine")
    for backend in host.backends.values():
        later.check(backend)
    assert known(database) == "this machine"
    later.accept()
    assert known(database) == "a third machine"
