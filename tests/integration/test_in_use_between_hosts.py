"""Volumes in use go to another host: the agent's client follows them, and sees no error."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import ask
from between import Between
from fio import verify_meanwhile
from following import KIND, Followed, V
from host_network import HostNetwork
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.exports.nbd import processes


@pytest.fixture(scope="module")
def made(module_service: Callable[..., ServiceProcess], postgres: Postgres) -> Between:
    return Between(module_service, postgres.database())


@pytest.fixture
def between(made: Between) -> Iterator[Between]:
    """The hosts of this module, of which a test leaves nothing to the next one."""
    yield made
    Followed.stop_all()
    for row in made.client.get("attachments")["attachments"]:
        made.client.delete("attachments", row["id"])
    made.clear()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f")


@pytest.mark.row("S033", "S034", "S085")
def test_three_hosts_of_a_network(
    make_service: Callable[..., ServiceProcess], postgres: Postgres, folder: Path
) -> None:
    """Each in a network namespace of its own, as is the hypervisor, whose client follows the volume over TLS."""
    network = HostNetwork(("a", "b", "hypervisor"))
    try:
        between = Between(make_service, postgres.database(), network=network)
        used = Followed(between, folder).start(*network.run_in("hypervisor"))
        between.migrate(used.id)
        assert between.ended(KIND)["state"] == "succeeded"
        assert (used.info()["host"], used.info()["tls"]) == (network.address("b"), True)
        used.check("b", "success")
        print(f"worst request: {used.worst * 1000:.0f} ms")
        used.end()
    finally:
        network.remove()


@pytest.mark.row("S033", "S034", "S085")
def test_a_volume_in_use_goes_to_another_host_and_back_under_its_client(between: Between, folder: Path) -> None:
    """What is acknowledged is there, new clients go there at once, and the former address says where it is, until the
    attachment ends.
    """
    used = Followed(between, folder).start()
    for host in ("b", "a"):
        between.migrate(used.id, host)
        ended = between.ended(KIND)
        assert (ended["state"], ended["host"]) == ("succeeded", f"{host}@sim"), ended
        used.await_changes()
        assert between.place(used.id) == (host, "in-use", "success")
        if host == "b":
            there = used.info()["uri"]
            assert there != used.uri
            assert f"moved to {there}" in used.description()
    assert used.info()["uri"] == used.uri
    used.check("a", "success")
    print(f"worst request: {used.worst * 1000:.0f} ms")
    used.end()


@pytest.mark.row("S033")
@pytest.mark.parametrize(("verb", "host"), [("after_volume_copy", "b"), ("update_migrated_volume", "b")])
def test_cancelled_at_any_moment_until_the_switch(between: Between, folder: Path, verb: str, host: str) -> None:
    """While the client waits, too: it goes on at the source; from the switch on a cancel comes too late."""
    used = Followed(between, folder).start()
    is_late = verb == "update_migrated_volume"
    between.faults(host).plan({verb: [{"delay": 1.0, "times": 1}]})
    begun = between.hosts[host].state / "pool" / "faults.count.json"
    between.migrate(used.id, lock_volume=True)
    wait_until(begun.exists)
    between.client.act("operations", between.operation(KIND)["id"], "cancel")
    assert between.ended(KIND)["state"] == ("succeeded" if is_late else "cancelled")
    between.faults(host).plan({})
    used.check(*("b", "success") if is_late else ("a", "error"))
    used.end()


@pytest.mark.row("S033")
@pytest.mark.parametrize(("verb", "host"), [("after_volume_copy", "a"), ("after_volume_copy", "b")])
def test_a_fault_before_the_switch_ends_the_migration_and_not_its_client(
    between: Between, folder: Path, verb: str, host: str
) -> None:
    """Of either host's driver."""
    used = Followed(between, folder).start()
    between.faults(host).plan({verb: [{"error": "BackendUnavailable", "times": 1}]})
    between.migrate(used.id)
    ended = between.ended(KIND)
    between.faults(host).plan({})
    assert (ended["state"], "simulated fault" in str(ended["error"])) == ("failed", True), ended
    used.check("a", "error")
    used.end()


def _migrate_slowly(between: Between, used: Followed) -> None:
    """Return in the middle of the copy, which goes on by 1 MiB a second."""
    assert between.b.process
    between.b.process.send_signal(signal.SIGSTOP)
    between.migrate(used.id)
    between.client.act("operations", between.operation(KIND)["id"], "limit", {"rate": 1 << 20})
    between.b.process.send_signal(signal.SIGCONT)
    wait_until(lambda: between.operation(KIND)["progress"]["data"] > 0, facts=lambda: between.operation(KIND))


@pytest.mark.row("S021", "S033")
@pytest.mark.parametrize("what", ["hangs", "dies"])
def test_a_destination_whose_export_hangs_or_dies(between: Between, folder: Path, what: str) -> None:
    """The migration ends, a hanging one by a cancel, and the client goes on at once, at the source."""
    used = Followed(between, folder).start()
    _migrate_slowly(between, used)
    id = str(between.operation(KIND)["id"])
    pids = processes.serving(between.b.state / "exports")[id]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP if what == "hangs" else signal.SIGKILL)
        if what == "hangs":
            time.sleep(0.5)
            between.client.act("operations", id, "cancel")
        assert between.ended(KIND)["state"] == ("cancelled" if what == "hangs" else "failed")
    finally:
        for pid in pids & processes.serving(between.b.state / "exports").get(id, set()):
            os.kill(pid, signal.SIGCONT)
    used.check("a", "error")
    print(f"worst request: {used.worst * 1000:.0f} ms")
    used.end()


@pytest.mark.row("S021", "S033")
def test_a_server_that_dies_while_it_mirrors_to_another_host(between: Between, folder: Path) -> None:
    """What it has sent may still be on its way: the migration ends, and the client goes on at the source."""
    used = Followed(between, folder).start()
    _migrate_slowly(between, used)
    for pid in processes.serving(between.a.state / "exports")[used.attachment]:
        if not processes._is_keeper(pid):
            os.kill(pid, signal.SIGKILL)
    ended = between.ended(KIND)
    assert (ended["state"], "has ended while it mirrored" in str(ended["error"])) == ("failed", True), ended
    used.check("a", "error")
    used.end()


@pytest.mark.row("S021")
def test_a_destination_that_is_gone_for_good(between: Between, folder: Path) -> None:
    """While the client waits for it: the migration is taken back without it, and what it has is removed later."""
    used = Followed(between, folder).start()
    between.b.crash_at(KIND, "before do", "unserve")
    between.migrate(used.id)
    assert between.b.wait_dead()
    between.b.end_exports()
    ended = between.ended(KIND)
    assert (ended["state"], "its host is gone" in ended["error"]["message"]) == ("rollback_failed", True)
    used.await_changes()
    between.b.start()
    used.check("a", "error")
    used.end()


@pytest.mark.row("S021")
def test_a_source_that_is_gone_after_the_switch(between: Between, folder: Path) -> None:
    """The volume can be used at its destination; when its former host is back, its address says where."""
    used = Followed(between, folder).start()
    between.a.crash_at(KIND, "before do", "redirect")
    between.migrate(used.id)
    assert between.a.wait_dead()
    processes.end(between.a.state / "exports", used.attachment)
    ended = between.ended(KIND)
    assert (ended["state"], "its host is gone" in ended["error"]["message"]) == ("failed", True), ended
    assert between.place(used.id) == ("b", "in-use", "completing")
    between.a.start()
    used.check("b", "success")
    used.end()


@pytest.mark.row("S033")
def test_a_detach_while_its_client_waits(between: Between, folder: Path) -> None:
    """It is obeyed at once, and the migration is undone."""
    used = Followed(between, folder).start()
    for writer in used.writers:
        writer.stop()
    between.b.crash_at(KIND, "before do", "export")
    between.migrate(used.id)
    assert between.b.wait_dead()
    used.stop()
    between.client.delete("attachments", used.attachment)
    assert between.api.wait_status("volumes", used.id) == "available"
    between.b.start()
    assert between.ended(KIND)["state"] in ("failed", "rollback_failed")  # the latter where b was found to be gone
    between.api.settle()
    with between.path("a", used.id).open("rb") as file:
        content = file.read(64 << 20)
    assert all(each.is_in(lambda length, offset: content[offset : offset + length]) for each in used.writers)
    between.remove(used.id)
    wait_until(lambda: not between.leftovers(), 60, facts=between.leftovers)


def test_a_redirect_is_started_again_where_it_died(between: Between, folder: Path) -> None:
    """And of two migrations each former address says where the volume is now."""
    used = Followed(between, folder).start()
    between.migrate(used.id)
    assert between.ended(KIND)["state"] == "succeeded"
    processes.end(between.a.state / "exports", used.attachment)
    wait_until(lambda: f"moved to {used.info()['uri']}" in used.description(), 60, facts=used.description)
    used.check("b", "success")
    used.end()


def test_a_host_starts_with_a_redirect_of_an_attachment_that_has_ended(between: Between, folder: Path) -> None:
    """It ended while the host was away: the redirect, which outlived it, has no row, and keeps no service from its start."""
    used = Followed(between, folder).start()
    between.migrate(used.id)
    assert between.ended(KIND)["state"] == "succeeded"
    used.check("b", "success")
    used.stop()
    between.a.stop()
    between.client.delete("attachments", used.attachment)
    assert between.api.wait_status("volumes", used.id) == "available"
    assert used.attachment in processes.serving(between.a.state / "exports")
    between.a.start()
    between.remove(used.id)
    wait_until(lambda: not between.leftovers(), 60, facts=between.leftovers)


@pytest.mark.row("S033")
def test_a_host_that_exports_otherwise_is_no_destination(between: Between, folder: Path) -> None:
    """One without TLS, where the client has a key: the migration fails before anything is copied, and leaves nothing there."""
    used = Followed(between, folder).start()
    between.b.stop()
    between.b.settings["nbd_tls"] = False
    between.b.start()
    try:
        between.migrate(used.id)
        ended = between.ended(KIND)
        assert (ended["state"], "the client could not follow" in str(ended["error"])) == ("failed", True), ended
        assert ended["progress"]["data"] == 0
    finally:
        between.b.stop()
        del between.b.settings["nbd_tls"]
        between.b.start()
    used.check("a", "error")
    used.end()


@pytest.mark.row("S033", "S034")
def test_a_host_is_emptied_of_a_volume_in_use(between: Between, folder: Path) -> None:
    """Under its client; what is used by the unix socket stays, with the reason and what to do."""
    used = Followed(between, folder).start()
    local = between.written()
    fields = {"volume_uuid": local, "connector": {"host": "a", "ip": "127.0.0.1"}}
    status, content, _ = ask(between.api, "POST", "/v3/attachments", {"attachment": fields}, **V)
    assert status == 200, content
    between.client.act("attachments", content["attachment"]["id"], "os-complete")
    status, found = between.act(local, "os-migrate_volume", host=between.pool("b"))
    assert (status, "unix socket" in found) == (400, True), found
    status, evacuated, _ = ask(between.api, "PUT", "/v3/os-services/evacuate", {"host": "a"})
    assert status == 200
    states = {each["id"]: (each["state"], each.get("obstacle")) for each in evacuated["evacuation"]["volumes"]}
    assert states == {used.id: ("moving", None), local: ("refused", "attached")}, evacuated
    assert between.ended(KIND)["state"] == "succeeded"
    assert ask(between.api, "PUT", "/v3/os-services/enable", {"host": "a"})[0] == 200
    between.client.delete("attachments", content["attachment"]["id"])
    assert between.api.wait_status("volumes", local) == "available"
    between.remove(local)
    used.check("b", "success")
    used.end()


@pytest.mark.row("S033")
def test_fio_verifies_through_a_migration(between: Between, folder: Path) -> None:
    """fio writes with checksums and reads them back, through the agent, while the volume goes to another host: no error."""
    used = Followed(between, folder).start()
    for writer in used.writers:
        writer.stop()

    def migrate() -> None:
        between.migrate(used.id)
        assert between.ended(KIND)["state"] == "succeeded"

    verify_meanwhile(used.socket, "16M", migrate)
    assert between.place(used.id) == ("b", "in-use", "success")
    used.end()
