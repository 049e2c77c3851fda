"""Servers of exports and clients of ill will: who hangs up, who does not read, and files that are lost beside them."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from exporting import Exports
from nbd_client import ask, connected, receive
from waiting import wait_until

from nbdsvc import errors
from nbdsvc import exports as plugin_package
from nbdsvc.exporter import Connector, ExportSpec, Inventory
from nbdsvc.exports import nbd as nbd_package
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.launch import MEMORY_MAX
from nbdsvc.location import Location
from nbdsvc.units import MiB


def reads(path: Path) -> bool:
    """Whether a new client gets a block."""
    with contextlib.suppress(OSError), connected(path) as sock:
        ask(sock, 512)
        return len(receive(sock, 16 + 512)) == 528
    return False


def socket_of(exports: Exports, spec: ExportSpec) -> Path:
    return exports.folder / "e" / spec.id / "nbd.sock"


def servers(exports: Exports, spec: ExportSpec) -> set[int]:
    return processes.serving(exports.folder / "e").get(spec.id, set())


def test_a_client_that_hangs_up_takes_nobodys_server(exports: Exports) -> None:
    """It leaves with answers unread, twenty times: the server is there for the next client, with no service running."""
    spec, _uri = exports.up()
    for _ in range(20):
        # The error of a server that the server before it aborted, or of the next one.
        with contextlib.suppress(OSError), connected(socket_of(exports, spec)) as rude:
            for cookie in range(16):
                ask(rude, MiB, cookie)
            receive(rude, 16)
        wait_until(lambda: reads(socket_of(exports, spec)), 30)
    assert exports.exporter.health(spec.id).ok


def test_a_killed_server_is_there_again(exports: Exports) -> None:
    """Whoever connects meanwhile waits in the queue of the sockets that outlive it; the kept shell's end is the server's."""
    spec, _uri = exports.up()
    keeper = int((exports.folder / "e" / spec.id / "process").read_text().split()[0])
    [server] = _nbdkits(servers(exports, spec))
    os.kill(server, signal.SIGSEGV)
    assert reads(socket_of(exports, spec))
    assert _nbdkits(servers(exports, spec)) != [server]
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: servers(exports, spec) == set(), 10)


def _nbdkits(pids: set[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "nbdkit"]


def _resident(pids: set[int]) -> int:
    """Bytes."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) << 10 for text in status)


def test_unread_answers_have_a_bound(exports: Exports) -> None:
    """Eight connections with reads of 32 MiB, nothing read: memory has a limit, and who was there before is served."""
    spec, _uri = exports.up()
    calm = connected(socket_of(exports, spec))
    with exports.path.open("r+b") as file:
        for at in range(0, 64 * MiB, MiB):
            os.pwrite(file.fileno(), os.urandom(MiB), at)
    rude = [connected(socket_of(exports, spec)) for _ in range(8)]
    for sock in rude:
        sock.settimeout(0.5)
        with contextlib.suppress(OSError):  # the server accepts no more connections
            for cookie in range(200):
                ask(sock, 32 * MiB, cookie)
    peak = 0
    for cookie in range(40):
        ask(calm, 512, cookie)
        assert len(receive(calm, 16 + 512)) == 528
        peak = max(peak, _resident(servers(exports, spec)))
    print(f"at most {peak >> 20} MiB resident; the limit of data is {MEMORY_MAX >> 20} MiB")
    assert peak < MEMORY_MAX + 64 * MiB
    for sock in rude:
        sock.close()
    wait_until(lambda: reads(socket_of(exports, spec)), 30)


@pytest.mark.parametrize("lost", ["folder", "process", "served", "process and served", "spec", "half a spec"])
def test_servers_are_found_without_their_files(exports: Exports, lost: str) -> None:
    """A folder or a file of an export that is lost never leads to a second server, nor to one that outlives the detach."""
    spec, _uri = exports.up()
    folder = exports.folder / "e" / spec.id
    old = connected(folder / "nbd.sock")
    before = servers(exports, spec)
    if lost == "folder":
        shutil.rmtree(folder)
    for name in ("process", "served"):
        if name in lost:
            (folder / name).unlink()
    if "spec" in lost:
        (folder / "spec.json").write_text('{"id"' if lost == "half a spec" else "")
    assert exports.exporter.inventory().exports == (spec.id,)
    exports.exporter.ensure(spec)
    if lost != "served":
        assert not before & servers(exports, spec)
        assert old.recv(1) == b""
    assert len(_nbdkits(servers(exports, spec))) == 1
    old.close()
    if lost != "served":
        shutil.rmtree(folder)
    exports.exporter.remove(spec.id)
    assert servers(exports, spec) == set()
    assert exports.exporter.inventory().exports == ()


def test_each_process_of_a_server_holds_its_lock(exports: Exports) -> None:
    """While the shell or the server lives; so a free lock says that both have ended, and no process is looked for."""
    spec, _uri = exports.up()
    keeper = int((exports.folder / "e" / spec.id / "process").read_text().split()[0])
    [server] = _nbdkits(servers(exports, spec))
    with (exports.folder / "e" / spec.id / processes.SERVED).open() as file:

        def is_free() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        assert not is_free()
        os.kill(keeper, signal.SIGSTOP)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: _nbdkits(servers(exports, spec)) == [], 10)
        assert not is_free()
        exports.exporter.remove(spec.id)
        assert is_free()


def test_others_servers_are_left_alone(exports: Exports) -> None:
    """A server of another folder with the same attachment's id, and a program that only names ours, are not ended."""
    spec, _uri = exports.up()
    (exports.folder / "o").mkdir()
    other = Exports(exports.folder / "o")
    other.exporter.ensure(spec)
    assert servers(other, spec)
    exports.exporter.remove(spec.id)
    assert reads(socket_of(other, spec))
    other.exporter.remove(spec.id)


def test_foreign_files_among_the_exports_are_passed_over(exports: Exports) -> None:
    """Files and folders that are no exports neither end a listing nor a start."""
    spec, _uri = exports.up()
    root = exports.folder / "e"
    (root / "notes.txt").write_text("x")
    (root / "foreign").mkdir()
    (root / "foreign" / "spec.json").write_text(json.dumps([1]))
    assert spec.id in exports.exporter.inventory().exports
    assert not exports.exporter.health("foreign").ok
    again = exports.spec(tcp=True, secret="5a" * 32)
    exports.exporter.ensure(again)
    assert exports.exporter.health(again.id).ok


def make_older(exports: Exports, spec: ExportSpec, version: int, **changed: Any) -> dict[str, Any]:
    """The folder becomes one of an older version, whose note had a path, without a lock; returns the note."""
    (exports.folder / "e" / spec.id / processes.SERVED).unlink()
    note = exports.folder / "e" / spec.id / "spec.json"
    found = json.loads(note.read_text()) | changed | {"version": version, "path": str(exports.path)}
    del found["location"]
    if version == 0:
        del found["version"]
    note.write_text(json.dumps(found))
    return dict(found)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("package", [plugin_package, nbd_package], ids=["before the move", "after it"])
def test_an_older_keeper_starts_its_server(exports: Exports, package: ModuleType, version: int) -> None:
    """The plugin, by its path of that version, takes a spec with a path: keeping shells of live exports start it again so."""
    spec, _uri = exports.up()
    note = make_older(exports, spec, version)
    plugin = Path(str(package.__file__)).with_name("plugin.py")
    socket_path = exports.folder / "old.sock"
    parameter = f"spec={exports.folder / 'e' / spec.id / 'spec.json'}"
    command = ["nbdkit", "-f", "-U", str(socket_path), "python", str(plugin), parameter]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": note["pythonpath"]}) as server:
        wait_until(lambda: reads(socket_path), 30)
        exports.exporter.remove(spec.id)
        assert server.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("is_device", [False, True], ids=["file", "device"])
def test_a_server_that_an_older_version_started_is_left_alone(exports: Exports, version: int, is_device: bool) -> None:
    """A note with a path, of programs that are elsewhere now: an ensured export keeps its server and its clients, also
    where a look at the path would not tell what the driver does.
    """
    spec, _uri = exports.up()
    make_older(exports, spec, version, pythonpath="/elsewhere", ports=[1, 2])
    client, before = connected(socket_of(exports, spec)), servers(exports, spec)
    exports.exporter.ensure(replace(spec, location=Location.block(exports.path)) if is_device else spec)
    assert servers(exports, spec) == before
    ask(client, 512)
    assert len(receive(client, 16 + 512)) == 528


@pytest.mark.parametrize("version", [0, 1])
def test_a_server_of_an_older_note_comes_back(exports: Exports, version: int) -> None:
    """Killed after the upgrade, its keeping shell starts the new plugin with the old spec, and the clients come again."""
    spec, _uri = exports.up()
    make_older(exports, spec, version)
    (server,) = _nbdkits(servers(exports, spec))
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: _nbdkits(servers(exports, spec)) not in ([], [server]), 30)
    wait_until(lambda: reads(socket_of(exports, spec)), 30)
    found = exports.exporter.find(spec.id)
    assert found
    assert found[0].location == spec.location


def test_what_the_exporter_cannot_serve_is_refused_before_it_begins(exports: Exports) -> None:
    """Another scheme is named, by accept and by ensure, and nothing is made."""
    spec = replace(exports.spec(), location=Location("rbd", "pool/image"))
    for refuse in (lambda: exports.exporter.accept(Connector(host="me"), spec.location),
                   lambda: exports.exporter.ensure(spec)):  # fmt: skip
        with pytest.raises(errors.Unsupported, match="this one is at rbd"):
            refuse()
    assert exports.exporter.inventory() == Inventory()
