"""Two processes for one host name that no lock file keeps apart: two state folders, one database."""

import signal
from collections.abc import Callable

import pytest
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

Pair = tuple[ServiceProcess, ServiceProcess]


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, make_service: Callable[..., ServiceProcess]) -> Pair:
    """Not started; they share database, pool and host name, and nothing else."""
    first = make_service("a", start=False)
    url = first.state / "shared.db"
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.database()  # type: ignore[assignment]
    shared = {"DATABASE": url, "POOL": first.state / "pool", "CLAIM_SECONDS": 2.0, "DRIVER": "memory"}
    first.settings |= shared
    return first, make_service("b", start=False, **{key.lower(): value for key, value in shared.items()})


def test_a_living_holder_is_named(pair: Pair) -> None:
    """The second one is refused with the first one's process and folder; when that was killed, it starts at once."""
    first, second = pair
    first.start()
    assert first.process
    with pytest.raises(AssertionError, match=f"process {first.process.pid} on .*{first.state} already serves host me"):
        second.start()
    first.settings["CLAIM_SECONDS"] = 3600.0
    assert first.stop() == 0
    first.start()
    first.kill()
    second.start()


def test_who_lost_the_host_runs_no_step(pair: Pair) -> None:
    """A process that was paused in the middle of an operation and overtaken writes nothing to the journal when it wakes."""
    first, second = pair
    slow = [{"when": "after", "error": None, "delay": 3, "times": 1}]
    client = first.start().client()
    Faults(first.state / "pool", "file").plan({"create_volume": slow})
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    wait_until((first.state / "pool" / "faults.count.json").exists)
    assert first.process
    first.process.send_signal(signal.SIGSTOP)
    try:
        second.start()
        assert second.wait_status("volumes", volume) == "available"
        before = second.client().operation_of(volume)
    finally:
        first.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "another process serves this host now" in first.log.read_text())
    later = first.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert second.wait_status("volumes", later) == "available"
    assert second.client().operation_of(volume) == before
    assert (before["attempts"], before["state"]) == (2, "succeeded")
    assert first.log.read_text().count("operation ended") == 0
