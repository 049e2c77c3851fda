"""A backend with several pools in a running service: placement, health, managing and what an operator may do wrong."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess
from waiting import wait_until

GIB = 1 << 30
Make = Callable[..., ServiceProcess]


def _backend(folder: Path, name: str = "fast", driver: str = "memory", pools: str = "ab", **options: Any) -> str:
    """The settings of a backend with these pools."""
    lines = [f"{key} = {value!r}".replace("True", "true").replace("False", "false") for key, value in options.items()]
    places = [f"{pool} = '{folder / pool}'" for pool in pools]
    return "\n".join([f"[{name}]", f"driver = '{driver}'", f"[{name}.options]", *lines,
                      f"[{name}.options.pools]", *places, ""])  # fmt: skip


def _create(service: ServiceProcess, status: str = "available", **wanted: Any) -> str:
    answered, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, **wanted}})
    assert answered == 202, content
    id = str(content["volume"]["id"])
    assert service.wait_status("volumes", id) == status
    return id


def _pool(service: ServiceProcess, id: str) -> str:
    """The name of the pool that a volume is in."""
    return str(service.client().get("volumes", id)["volume"]["os-vol-host-attr:host"]).partition("#")[2]


def _findings(service: ServiceProcess) -> str:
    (row,) = ask(service, "GET", "/v3/os-services")[1]["services"]
    assert row["state"] == "up"
    return str(row["disabled_reason"] or "")


def _states(service: ServiceProcess) -> dict[str, str]:
    pools = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    return {pool["name"]: pool["capabilities"]["backend_state"] for pool in pools}


def _provisioned(service: ServiceProcess, name: str) -> float:
    """GiB of a pool's last report: what was deleted since counts as promised."""
    pools = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    return float(next(pool["capabilities"]["provisioned_capacity_gb"] for pool in pools if pool["name"] == name))


@pytest.mark.row("S080")
def test_a_volume_goes_where_there_is_room(make_service: Make, tmp_path: Path) -> None:
    """get_pools has all pools; the one with the most room gets the next volume, and where none has any it is refused."""
    settings = (
        _backend(tmp_path, max_over_subscription_ratio=1.0) + f"[fast.options.capacity]\na = {GIB}\nb = {5 * GIB}\n"
    )
    service = make_service(backends=settings)
    assert set(_states(service)) == {"me@fast#a", "me@fast#b"}
    assert [_pool(service, _create(service, size=size)) for size in (3, 2, 1)] == ["b", "b", "a"]
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})
    assert (status, "promised" in str(content)) == (400, True), content


@pytest.mark.row("S063")
def test_a_capacity_that_is_no_number(make_service: Make, tmp_path: Path) -> None:
    """It is shown in Cinder's words, takes what the others cannot, and nothing that they can."""
    settings = _backend(tmp_path, pools="abc", max_over_subscription_ratio=1.0)
    service = make_service(
        backends=settings + f"[fast.options.capacity]\na = 'infinite'\nb = 'unknown'\nc = {2 * GIB}\n"
    )
    pools = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    names = ("pool_name", "total_capacity_gb", "free_capacity_gb")
    assert sorted([str(pool["capabilities"][name]) for name in names] for pool in pools) == [
        ["a", "infinite", "infinite"], ["b", "unknown", "unknown"], ["c", "2.0", "2.0"],
    ]  # fmt: skip
    found = ask(service, "GET", "/v3/scheduler-stats/placement?size=1")[1]["placement"]["pools"]
    assert [(pool["name"], pool["free_capacity_gb"]) for pool in found] == [
        ("me@fast#c", 2.0), ("me@fast#b", "unknown"), ("me@fast#a", "infinite"),
    ]  # fmt: skip
    page = ask(service, "GET", "/metrics")[1]
    assert 'nbdsvc_pool_bytes{pool="me@fast#a",what="free"} +Inf' in page
    assert 'nbdsvc_pool_bytes{pool="me@fast#b",what="free"}' not in page
    assert [_pool(service, _create(service, size=size)) for size in (1, 900, 1, 1)] == ["c", "b", "c", "b"]


def test_what_shares_blocks_stays_in_its_pool(make_service: Make, tmp_path: Path) -> None:
    """Snapshots, clones, volumes of snapshots and reverts are in the pool of their source, though another has more room."""
    service = make_service(backends=_backend(tmp_path) + f"[fast.options.capacity]\na = {90 * GIB}\nb = {80 * GIB}\n")
    client, volume = service.client(), _create(service, size=9)
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    assert service.wait_status("snapshots", snapshot) == "available"
    assert (tmp_path / "a" / "snapshots" / f"_snapshot-{snapshot}").exists()
    filler = _create(service, size=900)
    assert (_pool(service, volume), _pool(service, _create(service))) == ("a", "b"), _pool(service, filler)
    made = [_create(service, size=9, source_volid=volume), _create(service, size=9, snapshot_id=snapshot)]
    assert [_pool(service, id) for id in made] == ["a", "a"]
    status, content, _ = ask(service, "POST", f"/v3/volumes/{volume}/action", {"revert": {"snapshot_id": snapshot}},
                             OpenStack_API_Version="volume 3.40")  # fmt: skip
    assert status == 202, content
    assert service.wait_status("volumes", volume) == "available"


def test_a_copy_may_go_to_another_pool(make_service: Make, tmp_path: Path) -> None:
    """Where clones are copied, one that the source's pool has no room for is made in another pool, with its bytes."""
    options = {"instant_clone": False, "max_over_subscription_ratio": 1.0}
    settings = _backend(tmp_path, **options) + f"[fast.options.capacity]\na = {GIB}\nb = {3 * GIB}\n"
    service = make_service(backends=settings)
    assert _pool(service, _create(service, size=3)) == "b"
    source = _create(service)
    with (tmp_path / "a" / "volumes" / f"volume-{source}").open("r+b") as file:
        file.write(b"bytes")
    (big,) = [row["id"] for row in service.client().get("volumes")["volumes"] if row["id"] != source]
    service.client().delete("volumes", big)
    assert service.wait_status("volumes", big) == "gone"
    wait_until(lambda: _provisioned(service, "me@fast#b") == 0)
    clone = _create(service, source_volid=source)
    assert (_pool(service, source), _pool(service, clone)) == ("a", "b")
    with (tmp_path / "b" / "volumes" / f"volume-{clone}").open("rb") as file:
        assert file.read(6) == b"bytes\0"


def test_objects_are_managed_by_pool(make_service: Make, tmp_path: Path) -> None:
    """An object is managed in the pool that the client names; a backend with several pools is no pool; lists say which."""
    service = make_service(backends=_backend(tmp_path, driver="file"))
    for pool in "ab":
        with (tmp_path / pool / "volumes" / "theirs").open("wb") as file:
            file.truncate(GIB)
            file.write(pool.encode())
    listed = ask(service, "GET", "/v3/manageable_volumes/detail?host=me@fast", OpenStack_API_Version="volume 3.8")[1]
    assert sorted(each["extra_info"]["pool"] for each in listed["manageable-volumes"]) == ["a", "b"]
    listed = ask(service, "GET", "/v3/manageable_volumes/detail?host=me@fast%23b", OpenStack_API_Version="volume 3.8")[
        1
    ]
    assert [each["extra_info"] for each in listed["manageable-volumes"]] == [None]
    body = {"volume": {"host": "me@fast", "ref": {"source-name": "theirs"}}}
    status, content, _ = ask(service, "POST", "/v3/manageable_volumes", body, OpenStack_API_Version="volume 3.8")
    assert (status, "me@fast#a, me@fast#b" in str(content)) == (400, True), content
    body["volume"]["host"] = "me@fast#b"
    status, content, _ = ask(service, "POST", "/v3/manageable_volumes", body, OpenStack_API_Version="volume 3.8")
    assert status == 202, content
    id = content["volume"]["id"]
    assert (service.wait_status("volumes", id), _pool(service, id)) == ("available", "b")
    assert (tmp_path / "b" / "volumes" / f"volume-{id}").read_bytes()[:1] == b"b"
    assert (tmp_path / "a" / "volumes" / "theirs").exists()


@pytest.mark.row("S022")
def test_a_pool_that_is_gone(make_service: Make, tmp_path: Path) -> None:
    """Its backend is up and serves its other pool; the pool is down and a finding, its volumes fail, until it comes back."""
    service = make_service(backends=_backend(tmp_path, driver="file", pools="ab"))
    client, held = service.client(), {}
    while set(held) != {"a", "b"}:
        id = _create(service, size=1 + len(held))
        held[_pool(service, id)] = id
    (tmp_path / "a").rename(tmp_path / "away")
    wait_until(lambda: "pool a: " in _findings(service))
    assert _states(service) == {"me@fast#a": "down", "me@fast#b": "up"}
    assert [_pool(service, _create(service)) for _ in range(3)] == ["b"] * 3
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 3, "source_volid": held["a"]}})
    assert (status, "fast#a" in str(content)) == (503, True), content
    client.delete("volumes", held["a"])
    assert service.wait_status("volumes", held["a"]) == "error_deleting"
    client.delete("volumes", held["b"])
    assert service.wait_status("volumes", held["b"]) == "gone"
    (tmp_path / "away").rename(tmp_path / "a")
    wait_until(lambda: _findings(service) == "")
    assert ask(service, "POST", f"/v3/volumes/{held['a']}/action", {"os-force_delete": {}})[0] == 202
    assert service.wait_status("volumes", held["a"]) == "gone"


def test_a_volume_that_was_moved_is_a_finding(make_service: Make, tmp_path: Path) -> None:
    """A volume that lies in another pool than its row says is reported, and is not served from there."""
    service = make_service(backends=_backend(tmp_path, driver="file"))
    id = _create(service)
    here = _pool(service, id)
    there = "b" if here == "a" else "a"
    for source, target in ((here, there), (there, here)):
        shutil.move(tmp_path / source / "volumes" / f"volume-{id}", tmp_path / target / "volumes")
        if target == there:
            wait_until(lambda: f"volume {id}: it is in fast#{there}" in _findings(service))
            body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
            status, content, _ = ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version="volume 3.44")
            assert (status, "fast#" in str(content)) == (503, True), content
    wait_until(lambda: _findings(service) == "")


def test_rows_are_made_anew_with_their_pools(make_service: Make, tmp_path: Path) -> None:
    """After the loss of the database, `rebuild` gives each volume the pool that it is in."""
    service = make_service(backends=_backend(tmp_path, driver="file"))
    held = [_create(service, size=1 + index) for index in range(4)]
    pools = {id: _pool(service, id) for id in held}
    assert service.stop() == 0
    for path in service.state.glob("nbdsvc.db*"):
        path.unlink()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NBDSVC_")}
    environment |= {f"NBDSVC_{key.upper()}": str(value) for key, value in service.settings.items()}
    argv = [sys.executable, "-m", "nbdsvc", "rebuild", "--project", "p1", "--state-dir", str(service.state)]
    subprocess.run(argv, env=environment, capture_output=True, check=True)
    service.start()
    assert {id: _pool(service, id) for id in held} == pools


@pytest.mark.parametrize(
    ("second", "reason"),
    [("", "is the same as pool a of backend fast"), ("/inside", "are one inside the other")],
)
def test_two_backends_in_one_place(make_service: Make, tmp_path: Path, second: str, reason: str) -> None:
    """A backend whose pool is another backend's folder, or inside it, keeps the service from starting, and is named."""
    other = f"[slow]\ndriver = 'file'\noptions = {{ pool = '{tmp_path}/a{second}' }}\n"
    service = make_service(start=False, backends=_backend(tmp_path, driver="file", pools="a") + other)
    with pytest.raises(
        AssertionError, match=rf"Setting backends\.\w+: its pool \w+ .*({reason}|pool slow of backend slow)"
    ):
        service.start()


@pytest.mark.parametrize("name", ["a@b", "a#b", "a/b", ""])
def test_a_name_that_no_pool_can_have(make_service: Make, tmp_path: Path, name: str) -> None:
    """host@backend#pool has no such name: the setting is named and the service does not start."""
    settings = f"[fast]\ndriver = 'file'\n[fast.options.pools]\n'{name}' = '{tmp_path}/a'\n"
    service = make_service(start=False, backends=settings)
    with pytest.raises(AssertionError, match=rf"Setting backends\.fast\.options\.pools\.{name}: "):
        service.start()
