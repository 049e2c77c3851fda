"""Kills at any instant of backups and restores: of the service, and of the server that has the store."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from backup_storm import BackupStorm
from rados_gateway import RadosGateway
from serving import ServiceProcess

# Short in the suite; `make storm-backups` is the long run. Half of the kills are with each kind of store.
KILLS = int(os.environ.get("NBDSVC_KILLS", "6"))
SEED = int(os.environ.get("NBDSVC_STORM_SEED", "5"))


@pytest.mark.row("S021", "S076")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_random_kills_in_backups(
    request: pytest.FixtureRequest, make_service: Callable[..., ServiceProcess], short_folder: Path, kind: str
) -> None:
    """No backup lies: each that is available, and each volume made of one, has every byte. When what failed is deleted and the
    rest is freed, the store has what its backups need, and nothing else.
    """
    gateway, bucket, settings = None, "", {}
    if kind == "s3":
        gateway = RadosGateway()
        request.addfinalizer(gateway.stop)
        bucket = gateway.bucket()
        settings = gateway.settings(short_folder / "k", bucket, "storm")
    service = make_service("storm", driver="memory", **settings)
    storm = BackupStorm(service, SEED, gateway, bucket)
    for count in range(1, KILLS // 2 + 1):
        storm.strike()
        if count % 20 == 0:
            print(f"\n{count} kills so far, store {kind} ({storm})", flush=True)
    storm.end()
    print(f"\n{KILLS // 2} kills, store {kind} ({storm}): 0 backups that lie, 0 chunks that nothing needs")
