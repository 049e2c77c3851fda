"""Backups of volumes in use, sealed ones, and those that another installation restores."""

import base64
import json
from collections.abc import Callable

import pytest
from asking import UNKNOWN
from backing import Backing, make_backing
from serving import ServiceProcess

from drivers.memory import Faults
from nbdsvc import errors


@pytest.fixture(scope="module")
def backing(module_service: Callable[..., ServiceProcess]) -> Backing:
    return make_backing(module_service, "b")


def test_a_volume_in_use_is_read_from_a_snapshot_that_goes_away(module_service: Callable[..., ServiceProcess]) -> None:
    """With force only; by snapshot or clone as the setting says; the volume stays attached, and nothing of it is left."""
    for name, by_snapshot in (("u", True), ("w", False)):
        service = module_service(name, driver="memory", backup_use_temp_snapshot=by_snapshot)
        client = service.client()
        volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
        assert service.wait_status("volumes", volume) == "available"
        with service.backend.volume(service.state, volume).open("r+b") as file:
            file.write(b"used")
        connector = {"host": "me", "ip": "127.0.0.1"}
        made = client.post("attachments", body={"attachment": {"volume_uuid": volume, "connector": connector}})
        client.act("attachments", made["attachment"]["id"], "os-complete")
        with pytest.raises(errors.Error, match="in-use"):
            client.post("backups", body={"backup": {"volume_id": volume}})
        backup = client.post("backups", body={"backup": {"volume_id": volume, "force": True}})["backup"]["id"]
        assert service.wait_status("backups", backup) == "available"
        assert client.get("volumes", volume)["volume"]["status"] == "in-use"
        assert service.leftovers() == []
        restored = client.post("backups", backup, "restore", body={"restore": {"name": "r"}})["restore"]
        assert (service.wait_status("volumes", restored["volume_id"]), restored["volume_name"]) == ("available", "r")
        with service.backend.volume(service.state, restored["volume_id"]).open("rb") as file:
            assert file.read(4) == b"used"
        service.stop()
        service.end_exports()


@pytest.mark.row("S076")
def test_a_driver_takes_part(module_service: Callable[..., ServiceProcess]) -> None:
    """What fails in its hooks fails the operation: the volume is as it was before a backup, and `error_restoring` after a
    restore, which the next one ends.
    """
    service = module_service("h", driver="memory")
    client, faults = service.client(), Faults(service.state / "pool", "file")
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"

    def backed_up() -> tuple[str, str]:
        made = str(client.post("backups", body={"backup": {"volume_id": volume}})["backup"]["id"])
        return made, service.wait_status("backups", made)

    def restored() -> str:
        client.post("backups", good, "restore", body={"restore": {"volume_id": volume}})
        return service.wait_status("volumes", volume)

    for when in ("before", "after"):
        faults.plan({"backup_volume": [{"times": 1, "when": when, "error": "BackendUnavailable"}]})
        assert backed_up()[1] == "error"
        assert client.get("volumes", volume)["volume"]["status"] == "available"
    assert list((service.state / "backups").glob("spaces/*/[mst]*/*")) == []
    good, status = backed_up()
    assert status == "available"
    faults.plan({"restore_backup": [{"times": 1, "when": "after", "error": "BackendUnavailable"}]})
    assert restored() == "error_restoring"
    assert client.get("backups", good)["backup"]["status"] == "available"
    assert restored() == "available"
    service.stop()


def test_a_record_goes_to_another_installation(backing: Backing, module_service: Callable[..., ServiceProcess]) -> None:
    """It restores from the same store, also when the volume is gone; without the store, or twice, it is refused."""
    volume = backing.volume()
    backing.write(volume, 0, b"moved")
    backup = backing.backup(volume, name="n", metadata={"k": "v"})
    record = backing.good("GET", f"backups/{backup}/export_record")["backup-record"]
    assert record["backup_service"] == "nbdsvc"
    there = module_service("i", backup_store=backing.store)
    client = there.client("other")
    assert client.post("backups", "import_record", body={"backup-record": record})["backup"]["id"] == backup
    assert there.wait_status("backups", backup) == "available"
    shown = client.get("backups", backup)["backup"]
    assert (shown["name"], shown["metadata"], shown["object_count"], shown["volume_id"]) == ("n", {"k": "v"}, 1, volume)
    restored = client.post("backups", backup, "restore", body={"restore": {}})["restore"]["volume_id"]
    assert there.wait_status("volumes", restored) == "available"
    with there.backend.volume(there.state, restored).open("rb") as file:
        assert file.read(5) == b"moved"
    with pytest.raises(errors.Conflict):
        client.post("backups", "import_record", body={"backup-record": record})
    content = json.loads(base64.b64decode(record["backup_url"]))
    for changes in ({"version": 2}, {"space": "../../x" + 25 * "a"}, {"id": "x"}, {"size": 0}, {"size": True}, {"metadata": {"a": 1}},
                    {"data_timestamp": "soon"}, {"key_mark": "xyz"}, {"key_mark": "abc"}, {"name": 5}):  # fmt: skip
        url = base64.b64encode(json.dumps({**content, **changes}).encode()).decode()
        status, text = backing.send("POST", "backups/import_record", {"backup-record": {**record, "backup_url": url}})
        assert (status, "backup_url" in str(text)) == (400, True), (changes, text)
    for url in ("", "?", base64.b64encode(b"[]").decode(), base64.b64encode(b"[" * 5000).decode()):
        assert backing.send("POST", "backups/import_record", {"backup-record": {**record, "backup_url": url}})[0] == 400
    # A backup that the store does not have, and a store that is another one.
    for changes, store in (({"id": UNKNOWN}, backing.service), ({"store_id": "x"}, there)):
        id = {**content, **changes}["id"]
        url = base64.b64encode(json.dumps({**content, **changes, "id": UNKNOWN}).encode()).decode()
        if store is there:
            client.post("backups", "import_record", body={"backup-record": {**record, "backup_url": url}})
            assert there.wait_status("backups", UNKNOWN) == "error"
        else:
            backing.good("POST", "backups/import_record", {"backup-record": {**record, "backup_url": url}})
            assert backing.settled("backups", id) == "error"
            assert "no such backup" in backing.shown(id)["fail_reason"]
            backing.delete("backups", id)
    there.stop()
    backing.delete("backups", backup)


def test_an_import_that_failed_is_deleted_and_tried_again(backing: Backing) -> None:
    """Deleting what the failure left, as another import asks for, takes nothing from a store that has the backup after all."""
    volume = backing.volume()
    backing.write(volume, 0, b"moved")
    backup = backing.backup(volume)
    record = {"backup-record": backing.good("GET", f"backups/{backup}/export_record")["backup-record"]}
    kept = {path: path.read_bytes() for path in backing.store.glob("spaces/*/*/**/*") if path.is_file()}
    backing.delete("backups", backup)
    backing.good("POST", "backups/import_record", record)
    assert backing.settled("backups", backup) == "error"
    assert backing.send("POST", "backups/import_record", record)[0] == 409
    for path, content in kept.items():
        path.write_bytes(content)
    backing.delete("backups", backup)
    assert {path: path.read_bytes() for path in kept if path.exists()} == kept
    backing.good("POST", "backups/import_record", record)
    assert backing.settled("backups", backup) == "available"
    backing.delete("backups", backup)
    assert not [path for path in kept if path.exists()]


def test_an_import_counts_against_the_quotas(backing: Backing, module_service: Callable[..., ServiceProcess]) -> None:
    """As a backup that is made there: by number and by size, and nothing of one that is refused stays."""
    backup = backing.backup(backing.volume(size=2))
    record = {"backup-record": backing.good("GET", f"backups/{backup}/export_record")["backup-record"]}
    there = module_service("q", backup_store=backing.store, quota_backup_gigabytes=1)
    with pytest.raises(errors.Error, match="exceeds allowed Backup gigabytes quota"):
        there.client().post("backups", "import_record", body=record)
    assert there.client().get("backups")["backups"] == []
    there.client().put("os-quota-sets", "p1", body={"quota_set": {"backup_gigabytes": 2, "backups": 1}})
    assert there.client().post("backups", "import_record", body=record)["backup"]["id"] == backup
    assert there.wait_status("backups", backup) == "available"
    there.stop()
    backing.delete("backups", backup)


def test_a_sealed_store(module_service: Callable[..., ServiceProcess]) -> None:
    """With a key file nothing of a volume is readable in the store; the same installation restores it."""
    service = module_service("k", start=False)
    key = service.state.parent / "key"
    key.write_text("5c" * 32)
    key.chmod(0o600)
    service.settings["BACKUP_KEY_FILE"] = key
    service.start()
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1, "name": "hidden name"}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"
    with service.backend.volume(service.state, volume).open("r+b") as file:
        file.write(b"plain text" * 100)
    body = {"backup": {"volume_id": volume, "name": "secret name"}}
    backup = client.post("backups", body=body)["backup"]["id"]
    assert service.wait_status("backups", backup) == "available"
    stored = [path.read_bytes() for path in (service.state / "backups").rglob("*") if path.is_file()]
    assert len(stored) == 3
    assert not any(b"plain text" in each or b"secret name" in each for each in stored)
    restored = client.post("backups", backup, "restore", body={"restore": {}})["restore"]["volume_id"]
    assert service.wait_status("volumes", restored) == "available"
    with service.backend.volume(service.state, restored).open("rb") as file:
        assert file.read(1000) == b"plain text" * 100
    assert "5c5c5c" not in service.log.read_text()
    key.write_text("5d" * 32)
    service.stop()
    service.start()
    restored = service.client().post("backups", backup, "restore", body={"restore": {}})["restore"]["volume_id"]
    assert service.wait_status("volumes", restored) == "error"
    assert service.client().get("backups", backup)["backup"]["status"] == "available"
    service.client().delete("backups", backup)  # what it takes to remove it is in the clear
    assert service.wait_status("backups", backup) == "gone"
    assert [path for path in (service.state / "backups" / "spaces").rglob("*") if path.is_file()] == []
    service.stop()
