"""Backups of a service whose store is a bucket, on one host and on two."""

from collections.abc import Callable
from pathlib import Path

import pytest
from between import Between
from postgres import Postgres
from rados_gateway import RadosGateway
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.backup_store.identity import MARK


def volume_of(service: ServiceProcess, content: bytes) -> str:
    made = str(service.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"])
    assert service.wait_status("volumes", made) == "available"
    with service.backend.volume(service.state, made).open("r+b") as file:
        file.write(content)
    return made


def backup_of(service: ServiceProcess, volume: str, **fields: object) -> str:
    made = str(service.client().post("backups", body={"backup": {"volume_id": volume, **fields}})["backup"]["id"])
    assert service.wait_status("backups", made) == "available"
    return made


def chunks(gateway: RadosGateway, bucket: str) -> int:
    return sum("/chunks/" in key for key in gateway.keys(bucket))


@pytest.mark.row("S076")
def test_a_service_with_a_bucket(
    gateway: RadosGateway, module_service: Callable[..., ServiceProcess], short_folder: Path
) -> None:
    """Backup, increment, restore, verify, and what is freed: by a deletion at once, the rest by the service itself."""
    bucket = gateway.bucket()
    settings = gateway.settings(short_folder / "k", bucket, "here")
    service = module_service("s3", driver="memory", backup_collect_hours=0.0001, **settings)
    client = service.client()
    volume = volume_of(service, b"first")
    full = backup_of(service, volume)
    with service.backend.volume(service.state, volume).open("r+b") as file:
        file.write(b"later")
    more = backup_of(service, volume, incremental=True)
    assert chunks(gateway, bucket) == 2
    for backup, content in ((full, b"first"), (more, b"later")):
        restored = client.post("backups", backup, "restore", body={"restore": {}})["restore"]["volume_id"]
        assert service.wait_status("volumes", restored) == "available"
        with service.backend.volume(service.state, restored).open("rb") as file:
            assert file.read(5) == content
    client.delete("backups", more)
    assert service.wait_status("backups", more) == "gone"
    assert chunks(gateway, bucket) == 1
    # What a killed service left: a chunk that nothing needs, and the session of a backup that is not written any more.
    space = next(key for key in gateway.keys(bucket) if "/chunks/" in key).split("/chunks/")[0]
    gateway.client().put_object(Bucket=bucket, Key=f"{space}/chunks/00/{64 * '0'}", Body=b"left")
    gateway.client().put_object(Bucket=bucket, Key=f"{space}/sessions/{full}", Body=b"{}")
    wait_until(lambda: chunks(gateway, bucket) == 1, 30, lambda: gateway.keys(bucket))
    wait_until(lambda: not any("/sessions/" in key or "/trash/" in key for key in gateway.keys(bucket)), 30)
    gateway.client().put_object(Bucket=bucket, Key=chunk_of(gateway, bucket), Body=b"changed")
    client.act("backups", full, "nbdsvc-verify")
    service.settle()
    assert client.get("backups", full)["backup"]["status"] == "error"
    assert "chunk" in client.get("backups", full)["backup"]["fail_reason"]
    client.delete("backups", full)
    assert service.wait_status("backups", full) == "gone"
    wait_until(lambda: gateway.keys(bucket) == {f"here/{MARK}"}, 30, lambda: gateway.keys(bucket))
    assert not [secret for secret in (gateway.secret,) if secret in service.log.read_text()]
    service.stop()


def chunk_of(gateway: RadosGateway, bucket: str) -> str:
    return next(key for key in gateway.keys(bucket) if "/chunks/" in key)


@pytest.mark.row("S076")
@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_backup_of_one_host_is_restored_by_another(
    gateway: RadosGateway,
    postgres: Postgres,
    make_service: Callable[..., ServiceProcess],
    short_folder: Path,
    kind: str,
) -> None:
    """Two hosts with one store: each reads what the other one wrote, also when that one is gone, and deletes it."""
    store: dict[str, object] = {"backup_store": short_folder / "store"}
    if kind == "s3":
        store = gateway.settings(short_folder / "k", gateway.bucket(), "both")
    between = Between(make_service, postgres.database(), **store)
    volume = between.written("a")
    assert between.place(volume)[0] == "a"
    body = {"backup": {"volume_id": volume}}
    backup = between.client.post("backups", body=body)["backup"]["id"]
    assert between.api.wait_status("backups", backup) == "available"
    if kind == "s3":
        between.a.kill()
        wait_until(lambda: not between.is_up("a"), 30)
    wanted = {"volume": {"size": 1, "backup_id": backup, "volume_type": "b"}}
    restored = between.client.post("volumes", body=wanted, version="volume 3.47")["volume"]["id"]
    assert between.api.wait_status("volumes", restored) == "available"
    assert between.place(restored)[0] == "b"
    assert between.is_whole("b", restored)
    between.client.act("backups", backup, "nbdsvc-verify")
    between.api.settle()
    assert between.client.get("backups", backup)["backup"]["status"] == "available"
    between.client.delete("backups", backup)
    assert between.api.wait_status("backups", backup) == "gone"
    if kind == "s3":
        assert gateway.keys(str(store["backup_store"]).split("/")[2]) == {f"both/{MARK}"}
    else:
        assert [path for path in (short_folder / "store").rglob("*") if path.is_file() and path.name != MARK] == []
