"""Backups by the API: made, restored, deleted; what is refused, and what projects see of each other."""

import random
from collections.abc import Callable

import pytest
from asking import UNKNOWN
from backing import MIB, Backing, head, make_backing
from serving import ServiceProcess
from waiting import wait_until


@pytest.fixture(scope="module")
def backing(module_service: Callable[..., ServiceProcess]) -> Backing:
    return make_backing(module_service, "b")


@pytest.mark.row("S076")
def test_a_backup_is_made_restored_and_deleted(backing: Backing) -> None:
    """The new volume has the bytes of the old one, and nothing stays in the store after the deletion."""
    volume, data = backing.volume(name="v"), random.Random(1).randbytes(9 * MIB)
    backing.write(volume, 6 * MIB, data)
    backing.good("POST", f"volumes/{volume}/action", {"os-set_bootable": {"bootable": True}})
    backing.good("POST", f"volumes/{volume}/action", {"os-set_image_metadata": {"metadata": {"os": "x"}}})
    before = head(backing.path(volume))
    backup = backing.backup(volume, name="b", description="d", container="c")
    shown = backing.shown(backup)
    assert (shown["size"], shown["object_count"], shown["volume_id"], shown["name"]) == (1, 3, volume, "b")
    assert (shown["is_incremental"], shown["has_dependent_backups"], shown["container"]) == (False, False, "c")
    assert backing.good("GET", f"volumes/{volume}")["volume"]["status"] == "available"
    backing.write(volume, 0, b"changed since")
    restored = backing.restore(backup)
    assert head(backing.path(restored)) == before
    found = backing.good("GET", f"volumes/{restored}")["volume"]
    assert (found["name"], found["bootable"], found["volume_image_metadata"]) == (
        f"restore_backup_{backup}", "true", {"os": "x"}
    )  # fmt: skip
    assert backing.shown(backup)["status"] == "available"
    backing.delete("backups", backup)
    assert (backing.chunks(), backing.left()) == (set(), [])


def test_an_existing_volume_has_what_the_backup_had_and_nothing_else(backing: Backing) -> None:
    """Also a larger one, whose rest reads as zeros; a smaller one and one in use are refused, and stay as they were."""
    volume, other, small = backing.volume(size=2), backing.volume(size=3), backing.volume()
    backing.write(volume, 5 * MIB, b"wanted")
    backing.write(other, 5 * MIB, b"old" * MIB)
    backing.write(other, (2 << 30) + 7, b"behind")
    backup = backing.backup(volume)
    assert backing.restore(backup, volume_id=other) == other
    with backing.path(other).open("rb") as file:
        assert file.read(8 * MIB) == bytes(5 * MIB) + b"wanted" + bytes(3 * MIB - 6)
        file.seek(2 << 30)
        assert file.read(MIB) == bytes(MIB)
    for id, reason in ((small, "it has 1 GiB, and the backup has 2 GiB"), (UNKNOWN, "could not be found")):
        status, content = backing.send("POST", f"backups/{backup}/restore", {"restore": {"volume_id": id}})
        assert (status in (400, 404), reason in str(content)) == (True, True), content
    backing.good("POST", f"volumes/{other}/action", {"os-reserve": {}})
    assert backing.send("POST", f"backups/{backup}/restore", {"restore": {"volume_id": other}})[0] == 400
    assert backing.shown(backup)["status"] == "available"
    backing.delete("backups", backup)


def test_incremental_backups_and_those_they_build_on(backing: Backing) -> None:
    """Counted from the rows; a backup that others build on is deleted by force only, and they stay whole."""
    volume = backing.volume()
    body = {"backup": {"volume_id": volume, "incremental": True}}
    status, content = backing.send("POST", "backups", body, "p1")
    assert (status, "No backups available" in str(content)) == (400, True)
    backing.write(volume, 0, b"one")
    backing.write(volume, 8 * MIB, b"both")
    full = backing.backup(volume)
    backing.write(volume, 0, b"two")
    before = head(backing.path(volume))
    more = backing.backup(volume, incremental=True)
    assert (backing.shown(full)["has_dependent_backups"], backing.shown(more)["is_incremental"]) == (True, True)
    assert len(backing.chunks()) == 3
    status, content = backing.send("DELETE", f"backups/{full}")
    assert (status, "Incremental backups exist" in str(content)) == (400, True)
    backing.good("POST", f"backups/{full}/action", {"os-force_delete": {}})
    assert backing.settled("backups", full) == "gone"
    assert len(backing.chunks()) == 2
    assert head(backing.path(backing.restore(more))) == before
    backing.delete("backups", more)
    assert backing.chunks() == set()


def test_equal_blocks_of_two_projects_are_stored_twice(backing: Backing) -> None:
    """So that a project learns nothing of another's volumes; each frees its own."""
    volumes = {who: backing.volume(who) for who in ("p1", "p2")}
    for volume in volumes.values():
        backing.write(volume, 0, b"equal")
    made = {who: backing.backup(volume, who) for who, volume in volumes.items()}
    spaces = [path for path in backing.store.glob("spaces/*") if list(path.glob("chunks/*/*"))]
    assert len(spaces) == 2
    backing.delete("backups", made["p1"])
    assert len(backing.chunks()) == 1
    assert head(backing.path(backing.restore(made["p2"], "p2")))[:5] == b"equal"
    backing.delete("backups", made["p2"])


def test_a_neighbour_sees_nothing(backing: Backing) -> None:
    """Neither in a list nor by the id, by a restore, an incremental backup or a filter."""
    volume = backing.volume("p1")
    backup = backing.backup(volume, "p1", name="mine")
    for method, path, body in (
        ("GET", f"backups/{backup}", None),
        ("PUT", f"backups/{backup}", {"backup": {"name": "x"}}),
        ("DELETE", f"backups/{backup}", None),
        ("POST", f"backups/{backup}/restore", {"restore": {}}),
        ("POST", f"backups/{backup}/action", {"nbdsvc-verify": {}}),
        ("POST", "backups", {"backup": {"volume_id": volume}}),
    ):
        assert backing.send(method, path, body, "p2")[0] == 404, (method, path)
    for path in (f"backups/{backup}/export_record", "backups/import_record", "backups/collect"):
        method, body = (
            ("GET", None)
            if "export" in path
            else ("POST", {"backup-record": {"backup_service": "a", "backup_url": "b"}})
        )
        assert backing.send(method, path, {} if "collect" in path else body, "p1")[0] == 403, path
    for action in ("os-force_delete", "os-reset_status"):
        body = {action: {"status": "error"}}
        assert backing.send("POST", f"backups/{backup}/action", body, "p1")[0] == 403
    for query in ("", "?all_tenants=1", "?name=mine", f"?volume_id={volume}"):
        for noun in ("backups", "backups/detail"):
            assert backing.good("GET", noun + query, who="p2")["backups"] == []
    assert [row["id"] for row in backing.good("GET", "backups?name~=min", who="p1")["backups"]] == [backup]
    backing.delete("backups", backup)


def test_a_backup_of_a_snapshot(backing: Backing) -> None:
    """Has the bytes of the snapshot, whose status says so meanwhile; one of another volume is refused."""
    volume = backing.volume()
    backing.write(volume, 0, b"then")
    snapshot = backing.good("POST", "snapshots", {"snapshot": {"volume_id": volume}}, "p1")["snapshot"]["id"]
    assert backing.settled("snapshots", snapshot) == "available"
    backing.write(volume, 0, b"now!")
    backup = backing.backup(volume, snapshot_id=snapshot)
    assert (backing.shown(backup)["snapshot_id"], backing.settled("snapshots", snapshot)) == (snapshot, "available")
    assert head(backing.path(backing.restore(backup)))[:4] == b"then"
    body = {"backup": {"volume_id": backing.volume(), "snapshot_id": snapshot}}
    assert backing.send("POST", "backups", body, "p1")[0] == 400
    # A backup with newer data is no backup to build on for an older snapshot.
    backing.delete("backups", backup)
    later = backing.backup(volume)
    body = {"backup": {"volume_id": volume, "snapshot_id": snapshot, "incremental": True}}
    assert backing.send("POST", "backups", body, "p1")[0] == 400
    backing.delete("backups", later)


def test_a_damaged_backup_does_not_claim_to_be_whole(backing: Backing) -> None:
    """Verified, or restored: the error of the operation names the chunk, the backup is `error`, the volume as it was."""
    volume, other = backing.volume(), backing.volume()
    backing.write(volume, 0, b"damage")
    first = backing.backup(volume)
    backing.good("POST", f"backups/{first}/action", {"nbdsvc-verify": {}}, "p1")
    chunk = next(path for path in backing.store.glob("spaces/*/chunks/*/*"))
    wait_until(lambda: ended(backing, first), 30)
    assert backing.shown(first)["status"] == "available"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    backing.good("POST", f"backups/{first}/action", {"nbdsvc-verify": {}}, "p1")
    wait_until(lambda: backing.shown(first)["status"] == "error", 30)
    assert chunk.name in backing.shown(first)["fail_reason"]
    backing.good("POST", f"backups/{first}/action", {"os-reset_status": {"status": "available"}})
    assert not chunk.exists()  # no new backup counts on it
    backing.restore(first, volume_id=other, expected="available")
    assert backing.shown(first)["status"] == "error"
    assert "lacks 1 of its chunks" in backing.shown(first)["fail_reason"]
    backing.restore_refused(first)
    backing.delete("backups", first)
    assert (list(backing.store.glob("spaces/*/damaged/*")), backing.left()) == ([], [])


def test_a_damaged_neighbour_does_not_keep_a_backup(backing: Backing) -> None:
    """A manifest that cannot be read keeps chunks until it is deleted, and no other backup."""
    volume = backing.volume()
    backing.write(volume, 0, b"neighbour")
    first, second = backing.backup(volume), backing.backup(volume)
    next(backing.store.glob(f"spaces/*/manifests/{first}")).write_bytes(b"damaged")
    backing.delete("backups", second)
    assert len(backing.chunks()) == 1
    backing.delete("backups", first)
    assert (backing.chunks(), backing.left()) == (set(), [])


def ended(backing: Backing, resource: str) -> bool:
    rows = backing.good("GET", f"operations?resource_id={resource}&sort=created_at:desc")["operations"]
    return bool(rows[0]["finished_at"])


def test_a_store_that_is_away_is_an_error_of_the_operation(backing: Backing) -> None:
    """The volume is as it was, and a deletion that failed is repeated once the store is back."""
    volume = backing.volume()
    good = backing.backup(volume)
    away = backing.store.with_name("away")
    backing.store.rename(away)
    try:
        failed = backing.backup(volume, expected="error")
        assert backing.good("GET", f"volumes/{volume}")["volume"]["status"] == "available"
        backing.good("DELETE", f"backups/{good}", who="p1")
        assert backing.settled("backups", good) == "error_deleting"
        assert backing.send("POST", "backups/collect", {})[0] == 503
    finally:
        if backing.store.exists():
            backing.store.rmdir()
        away.rename(backing.store)
    assert "storage is not available" in backing.shown(failed)["fail_reason"]
    for id in (failed, good):
        backing.delete("backups", id)
    assert (backing.chunks(), backing.left()) == (set(), [])


def test_a_sweep_frees_what_was_left(backing: Backing) -> None:
    """Chunks without a backup are freed; a session that is not ours keeps what is in the trash until it is ended by name."""
    volume = backing.volume()
    backing.write(volume, 0, b"kept")
    backup = backing.backup(volume)
    space = next(path.parents[1] for path in backing.store.glob(f"spaces/*/manifests/{backup}"))
    chunk = next(space.glob("chunks/*/*"))
    orphan = space / "chunks" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(chunk.read_bytes())
    for id in (UNKNOWN, backup):  # our row says that the second one has ended
        (space / "sessions" / id).write_text("{}")
    found = backing.good("POST", "backups/collect", {})["collected"]
    assert (found["chunks"], found["waiting"], found["faults"]) == (0, [UNKNOWN], [])
    assert backing.left() != []
    found = backing.good("POST", "backups/collect", {"end_sessions": [UNKNOWN]})["collected"]
    assert (found["chunks"], found["waiting"]) == (1, [])
    assert (backing.chunks(), backing.left()) == ({chunk.name}, [])
    backing.delete("backups", backup)


def test_quotas_of_backups(backing: Backing) -> None:
    """Counts and GiB of the project's backups are limited and shown; a volume that is refused keeps its status."""
    volume = backing.volume("p2", size=2)
    backup = backing.backup(volume, "p2")
    shown = backing.good("GET", "os-quota-sets/p2?usage=true")["quota_set"]
    assert (shown["backups"]["in_use"], shown["backup_gigabytes"]["in_use"]) == (1, 2)
    absolute = backing.good("GET", "limits", who="p2")["limits"]["absolute"]
    assert (absolute["totalBackupsUsed"], absolute["totalBackupGigabytesUsed"]) == (1, 2)
    for limits, reason in (
        ({"backups": 1}, "BackupLimitExceeded"),
        ({"backups": 9, "backup_gigabytes": 3}, "exceeds allowed"),
    ):
        backing.good("PUT", "os-quota-sets/p2", {"quota_set": limits})
        status, content = backing.send("POST", "backups", {"backup": {"volume_id": volume}}, "p2")
        assert (status, reason in str(content)) == (413, True), content
        assert backing.good("GET", f"volumes/{volume}", who="p2")["volume"]["status"] == "available"
    backing.delete("backups", backup)


def test_update_reset_and_what_is_refused(backing: Backing) -> None:
    """Name, description and metadata by microversion; statuses by administrators; bad fields by name."""
    volume = backing.volume()
    backup = backing.backup(volume, metadata={"a": "b"})
    made = backing.good("PUT", f"backups/{backup}", {"backup": {"name": "n", "metadata": {"c": "d"}}}, "p1")["backup"]
    assert (made["name"], made["metadata"]) == ("n", {"c": "d"})
    assert backing.send("PUT", f"backups/{backup}", {"backup": {"name": "x"}}, version="3.8")[0] == 404
    assert "metadata" not in backing.shown(backup, "3.42")
    for path, body in (
        (f"backups/{backup}/action", {"os-reset_status": {"status": "restoring"}}),
        (f"backups/{backup}/restore", {"restore": {"size": 1}}),
        (f"backups/{backup}/restore", {}),
        ("backups", {"backup": {"volume_id": ""}}),
        ("backups", {"backup": {"volume_id": volume, "unknown": 1}}),
        ("backups", {"backup": {"volume_id": volume, "name": "x" * 256}}),
    ):
        assert backing.send("POST", path, body)[0] == 400, (path, body)
    assert backing.send("POST", "backups", {"backup": {"volume_id": volume, "metadata": {}}}, version="3.42")[0] == 400
    backing.good("POST", f"backups/{backup}/action", {"os-reset_status": {"status": "error"}})
    assert backing.send("POST", f"backups/{backup}/restore", {"restore": {}})[0] == 400
    assert backing.send("POST", f"backups/{backup}/action", {"nbdsvc-verify": None})[0] == 400
    backing.delete("backups", backup)
    assert backing.send("GET", f"backups/{backup}")[0] == 404


def test_a_new_volume_of_a_backup(backing: Backing) -> None:
    """From 3.47: placed and counted as any other, as large as wanted, with the bytes of the backup and zeros behind."""
    volume, data = backing.volume(), random.Random(2).randbytes(5 * MIB)
    backing.write(volume, 3 * MIB, data)
    before, backup = head(backing.path(volume)), backing.backup(volume, description="of the backup")
    kind = backing.good("POST", "types", {"volume_type": {"name": "of-backups"}})["volume_type"]["name"]
    more = {
        "size": 2,
        "name": "n",
        "description": "d",
        "metadata": {"a": "b"},
        "multiattach": True,
        "volume_type": kind,
    }
    for fields, expected in (({}, (1, None, {}, False)), (more, (2, "n", {"a": "b"}, True))):
        body = {"volume": {"backup_id": backup, **fields}}
        made = backing.good("POST", "volumes", body, "p1", "3.47")["volume"]
        assert (made["status"], backing.settled("volumes", made["id"])) == ("restoring-backup", "available")
        found = backing.good("GET", f"volumes/{made['id']}")["volume"]
        assert (found["size"], found["name"], found["metadata"], found["multiattach"]) == expected
        assert found["volume_type"] == fields.get("volume_type", "__DEFAULT__")
        assert head(backing.path(made["id"])) == before
        assert backing.path(made["id"]).stat().st_size == expected[0] << 30
    assert backing.shown(backup)["status"] == "available"
    backing.delete("backups", backup)


def test_a_new_volume_of_a_backup_that_is_refused(backing: Backing) -> None:
    """Below 3.47, with another source, too small, too much, of a neighbour's backup or one that is `error`: nothing is left of it."""
    volume = backing.volume("p1", size=2)
    backup = backing.backup(volume)
    before = backing.good("GET", "volumes?all_tenants=1")["volumes"]

    def refused(status: int, reason: str, who: str = "p1", version: str = "3.47", **fields: object) -> None:
        body = {"volume": {"backup_id": backup, **fields}}
        found, content = backing.send("POST", "volumes", body, who, version)
        assert (found, reason in str(content)) == (status, True), content
        assert backing.good("GET", "volumes?all_tenants=1")["volumes"] == before
        assert backing.send("GET", f"backups/{backup}")[1]["backup"]["status"] in ("available", "error")

    refused(400, "there is no such field before 3.47", version="3.46", size=2)
    refused(400, "only one of", source_volid=volume)
    refused(400, "only one of", snapshot_id=UNKNOWN)
    refused(400, "must not be smaller than its backup's 2 GiB", size=1)
    refused(400, "zone", availability_zone="nowhere")
    refused(404, "could not be found", backup_id=UNKNOWN)
    refused(404, "could not be found", who="p2")
    backing.good("PUT", "os-quota-sets/p1", {"quota_set": {"volumes": len(before)}})
    backing.good("PUT", "os-quota-sets/p1", {"quota_set": {"gigabytes": 1}})
    refused(413, "xceed")
    backing.good("DELETE", "os-quota-sets/p1")
    backing.good("POST", f"backups/{backup}/action", {"os-reset_status": {"status": "error"}})
    refused(400, "status")
    backing.delete("backups", backup)
