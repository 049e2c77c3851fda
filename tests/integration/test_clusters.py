"""Hosts that see one shared folder: each volume is served by one of them, another takes over when that is lost."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clustered import Clustered
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until


@pytest.fixture(scope="module")
def world(
    module_service: Callable[..., ServiceProcess], postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clustered]:
    folder = tmp_path_factory.mktemp("cluster", numbered=True)
    made = Clustered(module_service, postgres.database(), folder)
    made.start("a", "b", "c")
    yield made
    made.database.close()


def test_a_host_takes_over(world: Clustered) -> None:
    """Without the word that it is fenced, or while it reports, it is refused. Then the rows are the other host's without a
    copy, with their snapshots; what was in use is exported there with the bytes that were written; quotas are as before;
    other hosts keep theirs."""
    (used, _), (rested, kept), (others, _) = world.written("a"), world.written("a"), world.written("c")
    snapshot = world.good("POST", "snapshots", {"snapshot": {"volume_id": rested}})["snapshot"]["id"]
    assert world.api.wait_status("snapshots", snapshot) == "available"
    attached, content = world.attach(used, "a"), os.urandom(4096)
    world.write("a", attached, content)
    inode, before = world.path(used).stat().st_ino, world.used()
    world.hosts["a"].kill()
    status, answer = world.ask("PUT", "os-services/take-over", {"host": "a"})
    assert (status, "was not declared lost" in str(answer)) == (400, True), answer
    status, answer = world.take_over("a", "b")
    assert (status, " s ago" in str(answer)) == (409, True), answer
    assert world.take_over("a", "x")[0] == 400
    assert world.take_over("x")[0] == 404
    world.hosts["a"].end_exports()
    world.silent("a")
    found = [each["kind"] for each in world.good("GET", "explain")["findings"] if each["resource_id"] == "a"]
    assert found[:2] == ["host.down", "host.take_over"]
    status, answer = world.take_over("a", "b")
    assert status == 200, answer
    assert answer["taken_over"] == [
        {"backend": "shared", "cluster": "k@shared", "by": "b", "volumes": 2, "attachments": 1, "left": []}
    ]
    assert (world.place(used), world.place(others)) == ("b@shared#shared", "c@shared#shared")
    assert world.used() == before
    world.wait_served(attached, "b")
    assert world.read("b", attached) == content
    world.good("DELETE", f"snapshots/{snapshot}")
    assert world.api.wait_status("snapshots", snapshot) == "gone"
    assert world.read_file(rested) == kept
    assert world.path(used).stat().st_ino == inode
    assert world.row(used)["status"] == "in-use"
    assert world.attachment(attached)["status"] == "attached"
    status, answer = world.take_over("a", "c")
    assert (status, "taken over by host b already" in str(answer)) == (409, True), answer
    assert world.take_over("a")[0] == 200


def test_the_old_host_comes_back(world: Clustered) -> None:
    """Its servers end before anything else, and it is refused while it is lost. Let return, it serves nothing of what is the
    other's and has forgotten what it noted of it; it takes new volumes again."""
    (f,) = world.start("f")
    id, content = world.written("f")
    attached = world.attach(id, "f")
    (f.state / "digests").mkdir(exist_ok=True)
    (f.state / "digests" / id).write_text("of before")
    f.kill()
    world.silent("f")
    assert world.take_over("f", "b")[0] == 200
    world.settle()
    assert sorted(world.served_by(attached)) == ["b", "f"]
    assert "host f was declared lost" in world.start_of(f)
    assert world.served_by(attached) == ["b"]
    assert world.ask("PUT", "os-services/return", {"host": "f"})[0] == 200
    f.start()
    world.good("PUT", "os-services/enable", {"host": "f"})
    assert world.served_by(attached) == ["b"]
    assert not list((f.state / "digests").iterdir())
    assert world.read("b", attached) == content
    assert world.place(world.written("f")[0]) == "f@shared#shared"
    assert world.ask("PUT", "os-services/take-over", {"host": "f"})[0] == 400


def test_who_wakes_up_serves_nothing(world: Clustered) -> None:
    """A process that was paused while its volumes were taken over ends its exports when it wakes."""
    world.start("d")
    id, content = world.written("d")
    attached = world.attach(id, "d")
    d = world.hosts["d"]
    assert d.process
    d.process.send_signal(signal.SIGSTOP)
    try:
        world.silent("d")
        status, taken = world.take_over("d", "c")
        assert status == 200, taken
        wait_until(lambda: world.is_served("c", attached), 30)
    finally:
        d.process.send_signal(signal.SIGCONT)
    wait_until(lambda: world.served_by(attached) == ["c"], 30, lambda: world.served_by(attached))
    assert world.read("c", attached) == content
    world.good("DELETE", f"attachments/{attached}")
    world.good("DELETE", f"volumes/{id}")
    assert world.api.wait_status("volumes", id) == "gone"
    assert f"volume-{id}" not in world.objects()


def test_groups_and_backups_go_along(world: Clustered) -> None:
    """A group is where its volumes are: it takes new ones there and lets others go. What was begun of it, and a backup, goes
    on at the host that took over."""
    world.start("g")
    kept, leaving = (world.volume("g") for _ in range(2))
    for id in (kept, leaving):
        assert world.api.wait_status("volumes", id) == "available"
    group = _group_beside(world, "g", kept, leaving)
    world.lose("g")
    backup = world.good("POST", "backups", {"backup": {"volume_id": kept}})["backup"]["id"]
    world.good("PUT", f"groups/{group}", {"group": {"remove_volumes": leaving}})
    status, answer = world.take_over("g", "b")
    assert status == 200, answer
    world.settle()
    assert world.api.wait_status("backups", backup) == "available"
    assert world.api.wait_status("groups", group) == "available"
    assert [world.row(id)["status"] for id in (kept, leaving)] == ["available"] * 2
    assert [world.row(id)["group_id"] for id in (kept, leaving)] == [group, None]
    new = world.good("POST", "volumes", {"volume": {"size": 1, "volume_type": "g-shared", "group_id": group}})[
        "volume"
    ]["id"]
    assert world.api.wait_status("volumes", new) == "available"
    assert world.place(new) == "b@shared#shared"
    world.good("POST", f"groups/{group}/action", {"delete": {"delete-volumes": True}})
    assert world.api.wait_status("groups", group) == "gone"


def _group_beside(world: Clustered, host: str, *volumes: str) -> str:
    kind = world.good("POST", "group_types", {"group_type": {"name": "along"}})["group_type"]["id"]
    others = [other for other in world.hosts if other != host]
    for other in others:
        world.good("PUT", "os-services/disable", {"host": other})
    body = {"group": {"name": "g", "group_type": kind, "volume_types": [f"{host}-shared"]}}
    made = str(world.good("POST", "groups", body)["group"]["id"])
    for other in others:
        world.good("PUT", "os-services/enable", {"host": other})
    assert world.api.wait_status("groups", made) == "available"
    world.good("PUT", f"groups/{made}", {"group": {"add_volumes": ",".join(volumes)}})
    assert world.api.wait_status("groups", made) == "available"
    return made


def test_who_wakes_up_before_the_take_over_serves_nothing(world: Clustered) -> None:
    """A process that wakes between the declaration and the take-over ends its exports at once: it learns nothing later. So does
    one that starts then, and is refused."""
    (h,) = world.start("h")
    id, content = world.written("h")
    attached = world.attach(id, "h")
    assert h.process
    h.process.send_signal(signal.SIGSTOP)
    try:
        world.silent("h")
        world.good("PUT", "os-services/lost", {"host": "h", "fenced": True})
        assert world.attachment(attached)["status"] == "attached"
    finally:
        h.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not world.served_by(attached), 15, lambda: world.served_by(attached))
    assert world.take_over("h", "b")[0] == 200
    world.wait_served(attached, "b")
    assert world.read("b", attached) == content
    world.good("DELETE", f"attachments/{attached}")


def test_two_takers_at_once(world: Clustered) -> None:
    """Exactly one of them has the volumes."""
    world.start("e")
    id, content = world.written("e")
    attached = world.attach(id, "e")
    world.lose("e")
    answers: dict[str, tuple[int, Any]] = {}
    takers = [
        threading.Thread(target=lambda by=by: answers.update({by: world.take_over("e", by)})) for by in ("b", "c")
    ]
    for each in takers:
        each.start()
    for each in takers:
        each.join()
    assert sorted(status for status, _ in answers.values()) == [200, 409], answers
    winner = next(by for by, (status, _) in answers.items() if status == 200)
    assert world.place(id) == f"{winner}@shared#shared"
    world.wait_served(attached, winner)
    assert world.read(winner, attached) == content
    world.good("DELETE", f"attachments/{attached}")


def test_a_planned_move(world: Clustered) -> None:
    """To another host of the cluster a volume goes without a copy, also where its pool has no room for a second one, and by
    an evacuation; its bytes are read there. In use it stays."""
    id, content = world.written("b")
    inode = world.path(id).stat().st_ino
    status, answer = world.ask("POST", f"volumes/{id}/action", {"os-migrate_volume": {"host": "c@shared#shared"}})
    assert status == 202, answer
    world.settle()
    assert (world.place(id), world.row(id)["migration_status"]) == ("c@shared#shared", "success")
    assert world.path(id).stat().st_ino == inode
    attached = world.attach(id, "c")
    assert world.read("c", attached) == content
    status, answer = world.ask("POST", f"volumes/{id}/action", {"os-migrate_volume": {"host": "b@shared#shared"}})
    assert status == 400, answer
    world.good("DELETE", f"attachments/{attached}")
    status, answer = world.ask("POST", f"volumes/{id}/action", {"os-migrate_volume": {"cluster": "k@shared"}})
    assert (status, "in this pool already" in str(answer)) == (400, True), answer
    world.good("PUT", "os-services/evacuate", {"host": "c@shared"})
    world.settle()
    assert not world.place(id).startswith("c@")
    assert world.path(id).stat().st_ino == inode
    world.good("PUT", "os-services/enable", {"host": "c"})


def test_snapshots_go_along(world: Clustered) -> None:
    """They are where their volume is, which goes within the cluster with them; a volume is made of one, and one deleted, at the
    other host. To other storage the volume does not go."""
    id, content = world.written("b")
    kept, gone = (world.good("POST", "snapshots", {"snapshot": {"volume_id": id}})["snapshot"]["id"] for _ in range(2))
    for each in (kept, gone):
        assert world.api.wait_status("snapshots", each) == "available"
    assert world.ask("POST", f"volumes/{id}/action", {"os-migrate_volume": {"host": "b@own#own"}})[0] == 400
    status, answer = world.ask("POST", f"volumes/{id}/action", {"os-migrate_volume": {"host": "c@shared#shared"}})
    assert status == 202, answer
    world.settle()
    assert (world.place(id), world.row(id)["migration_status"]) == ("c@shared#shared", "success")
    made = world.good("POST", "volumes", {"volume": {"size": 1, "snapshot_id": kept}})["volume"]["id"]
    assert world.api.wait_status("volumes", made) == "available"
    assert (world.place(made), world.read_file(made)) == ("c@shared#shared", content)
    world.good("DELETE", f"snapshots/{gone}")
    assert world.api.wait_status("snapshots", gone) == "gone"
    status, answer = world.ask("DELETE", f"volumes/{id}?cascade=true")
    assert status == 202, answer
    assert world.api.wait_status("volumes", id) == "gone"
    assert not {f"volume-{id}", f"_snapshot-{kept}", f"_snapshot-{gone}"} & world.objects()


def test_it_is_one_pool(world: Clustered) -> None:
    """The pool is shown once, by its cluster's name; what is promised is counted once; explain calls no object of a neighbour
    orphan. A disabled cluster gets no new volumes."""
    pools = [each["name"] for each in world.good("GET", "scheduler-stats/get_pools")["pools"]]
    assert pools.count("k@shared#shared") == 1
    assert not [name for name in pools if name.endswith("#shared") and not name.startswith("k@")]
    kinds = {each["kind"] for each in world.good("GET", "explain")["findings"]}
    assert not kinds & {"object.left_behind", "object.volume_without_row", "volume.object_gone", "volume.twice"}
    status, content = world.ask("GET", "clusters/detail?name=k@shared", version="3.7")
    assert (status, len(content["clusters"])) == (200, 1)
    assert content["clusters"][0]["num_hosts"] == len(world.hosts)
    world.volume("b")
    world.good("PUT", "clusters/disable", {"name": "k@shared", "disabled_reason": "full"})
    status, content = world.ask("POST", "volumes", {"volume": {"size": 1, "volume_type": "b-shared"}})
    world.good("PUT", "clusters/enable", {"name": "k@shared"})
    assert status == 503, content


def test_who_sees_another_storage_is_refused(world: Clustered, tmp_path: Path) -> None:
    """A host of the cluster whose folder is another one does not start, nor one whose storage cannot be shared."""
    other = f"shared = {{ driver = 'file', options = {{ pool = '{tmp_path}/other' }} }}"
    assert "mount the same one, or name another cluster" in world.start_of(world.host("x", BACKENDS=other))
    lonely = "shared = { driver = 'memory-replicated', options = { replication_targets = { far = 'STATE/far' } } }"
    assert "fails over to other sites" in world.start_of(world.host("y", BACKENDS=lonely))
    del world.hosts["x"], world.hosts["y"]


def test_who_is_alone_and_sees_an_empty_folder_is_refused(world: Clustered, tmp_path: Path) -> None:
    """Its storage was not mounted when it started: what it makes of the folder is not the cluster's, and when the storage is
    mounted it starts."""
    pool, away = tmp_path / "mine", tmp_path / "away"
    own = f"shared = {{ driver = 'file', options = {{ pool = '{pool}' }} }}"
    alone = world.host("u", CLUSTER="w", BACKENDS=own).start()
    id = world.volume("u")
    assert world.api.wait_status("volumes", id) == "available"
    alone.stop()
    pool.rename(away)
    pool.mkdir()
    assert "and is" in (said := world.start_of(alone))
    assert "now: mount the same one" in said
    shutil.rmtree(pool)
    away.rename(pool)
    alone.start()
    world.good("DELETE", f"volumes/{id}")
    assert world.api.wait_status("volumes", id) == "gone"
    alone.stop()
    del world.hosts["u"]


def test_the_verbs(world: Clustered) -> None:
    """`cluster` and `host take-over` on the command line: refused with status 4 and the reason."""
    environment = {**os.environ, "NBDSVC_ENDPOINT": world.api.url, "NBDSVC_PROJECT": "p1"}

    def nbdsvc(*arguments: str) -> tuple[int, str]:
        argv = [sys.executable, "-m", "nbdsvc", *arguments]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    assert "k@shared" in nbdsvc("cluster", "list")[1]
    assert "b (up)" in nbdsvc("cluster", "show", "k@shared")[1]
    assert nbdsvc("cluster", "disable", "k@shared", "--reason", "r")[0] == 0
    assert nbdsvc("cluster", "enable", "k@shared")[0] == 0
    assert nbdsvc("cluster", "show", "x@y")[0] == 3
    status, shown = nbdsvc("host", "take-over", "b")
    assert (status, "was not declared lost" in shown) == (4, True)
    assert nbdsvc("host", "take-over", "b", "--by", "c", "--fenced")[0] == 4
