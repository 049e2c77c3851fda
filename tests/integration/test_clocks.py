"""Machines whose clocks do not agree: two API processes and two hosts on one PostgreSQL, hours apart."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shifted
from postgres import Postgres
from serving import ServiceProcess

from nbdsvc import errors

HOUR = 3600
# By process; late and early, so that each sees the other's times in the past and in the future.
CLOCKS = {"api-late": -HOUR, "api-early": HOUR, "late": -2 * HOUR, "early": 2 * HOUR}


@pytest.fixture(scope="module")
def processes(
    module_service: Callable[..., ServiceProcess], postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ServiceProcess]]:
    url, library = postgres.database(), shifted.library(tmp_path_factory.mktemp("clock"))
    made = {name: _process(module_service, name, url, library) for name in CLOCKS}
    for each in made.values():
        each.start()
    return made


def _process(make: Callable[..., ServiceProcess], name: str, url: str, library: Path) -> ServiceProcess:
    backends = f"sim = {{ driver = 'memory', options = {{ pools = {{ {name} = 'STATE/pool' }} }} }}"
    made = make(name, start=False, database=url, host=name, backends=backends, operation_deadline=30, claim_seconds=1)
    made.role = "api" if name.startswith("api") else "host"
    shifted.shift(made, library, CLOCKS[name])
    return made


def new_volume(api: ServiceProcess, host: str) -> str:
    """On that host."""
    made = api.client().post("volumes", body={"volume": {"size": 1, "volume_type": host}})["volume"]["id"]
    assert api.wait_status("volumes", made) == "available"
    return str(made)


@pytest.mark.row("S053")
def test_what_clocks_say_decides_nothing(processes: dict[str, ServiceProcess]) -> None:
    """Backends that report are up, deadlines are neither over nor far away, and the newest snapshot is the one made last,
    by whichever API process."""
    late, early = (processes[name] for name in ("api-late", "api-early"))
    for host in ("late", "early"):
        body = {"volume_type": {"name": host, "extra_specs": {"pool_name": host}}}
        late.client().post("types", body=body)
    for api in (late, early):
        services = api.client().get("os-services")["services"]
        assert {each["host"]: each["state"] for each in services} == {"late@sim": "up", "early@sim": "up"}
        now = datetime.now(UTC).replace(tzinfo=None)
        assert all(abs(datetime.fromisoformat(each["updated_at"]) - now) < timedelta(minutes=5) for each in services)
    for first, second in ((late, early), (early, late)):
        for host in ("late", "early"):
            volume = new_volume(first, host)
            older, newest = (_snapshot(api, volume) for api in (first, second))
            with pytest.raises(errors.RequestError, match=r".*"):
                first.client().act("volumes", volume, "revert", {"snapshot_id": older})
            first.client().act("volumes", volume, "revert", {"snapshot_id": newest})
            assert first.wait_status("volumes", volume) == "available"
            done: list[dict[str, Any]] = first.client().get("operations", resource_id=volume)["operations"]
            assert {each["state"] for each in done} == {"succeeded"}, done


def _snapshot(api: ServiceProcess, volume: str) -> str:
    made = api.client().post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    assert api.wait_status("snapshots", made) == "available"
    return str(made)
