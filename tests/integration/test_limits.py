"""Limits of copies: of one operation, of the whole host, changed while copies run; and who gets how much of a host's."""

import os
import re
import signal
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli.client import Client
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.datapath.rate_limit import Limit
from nbdsvc.datapath.source import Source

MIB = 1 << 20
# At the rate that the tests set, a copy of this volume takes longer than a test may.
SIZE, RATE = 512 * MIB, MIB
UNDER_WAY = {"creating", "downloading"}


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> ServiceProcess:
    """Its configuration file limits all copies to RATE bytes a second."""
    made = make_service(start=False)
    made.environment["CONFIG"] = str(tmp_path / "settings.toml")
    (tmp_path / "settings.toml").write_text(f"copy_rate = {RATE}\n")
    made.start()
    folder = made.state / "images"
    folder.mkdir(exist_ok=True)
    (folder / "disk.raw").write_bytes(os.urandom(MIB) * (SIZE // MIB))
    return made


def begin(client: Client) -> str:
    """A volume that is being made of the image; its id."""
    fields = {"size": 1, "imageRef": "disk.raw"}
    volume = str(client.post("volumes", body={"volume": fields})["volume"]["id"])
    wait_until(lambda: client.operation_of(volume)["progress"]["done"] > 0)
    return volume


def statuses(client: Client, volumes: list[str]) -> set[str]:
    return {client.get("volumes", volume)["volume"]["status"] for volume in volumes}


def test_the_hosts_limit_is_read_anew(service: ServiceProcess, tmp_path: Path) -> None:
    """Two copies share what the host may copy; after a SIGHUP they go on by the new settings; wrong ones change nothing."""
    client = service.client()
    volumes = [begin(client), begin(client)]
    assert service.process
    (tmp_path / "settings.toml").write_text("copy_rate = -1\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "settings are not read anew" in service.log.read_text())
    assert statuses(client, volumes) <= UNDER_WAY
    (tmp_path / "settings.toml").write_text("copy_rate = 0\n")
    service.process.send_signal(signal.SIGHUP)
    assert [service.wait_status("volumes", volume) for volume in volumes] == ["available", "available"]


def test_an_operations_limit_changes_while_it_runs(service: ServiceProcess, tmp_path: Path) -> None:
    """An operation is slowed and let go; one that has ended, and a rate that is none, are refused with the field."""
    client = service.client()
    volume = begin(client)
    operation = client.operation_of(volume)["id"]
    client.act("operations", operation, "limit", {"rate": RATE // 4})
    # A quarter of what the host allows, so it is the operation's own limit that holds it; and without a host's limit too.
    slowed = lambda: 0 < client.operation_of(volume)["progress"]["rate"] < RATE / 2  # noqa: E731
    wait_until(slowed)
    (tmp_path / "settings.toml").write_text("copy_rate = 0\n")
    assert service.process
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "copies are limited" in service.log.read_text())
    before = client.operation_of(volume)["progress"]["done"]
    wait_until(lambda: client.operation_of(volume)["progress"]["done"] > before)
    assert statuses(client, [volume]) <= UNDER_WAY
    wait_until(slowed)
    seen = client.operation_of(volume)
    assert seen["rate"] == RATE // 4
    assert seen["progress"]["data"] > 0
    left = seen["progress"]["total"] - seen["progress"]["done"]
    assert abs(seen["progress"]["seconds_left"] - left / seen["progress"]["rate"]) < 2
    page = urllib.request.urlopen(f"{service.url.removesuffix('/v3')}/metrics").read().decode()
    assert re.search(r"^nbdsvc_copy_bytes_per_second [1-9]", page, re.MULTILINE)
    client.act("operations", operation, "limit", {"rate": 0})
    assert service.wait_status("volumes", volume) == "available"
    with pytest.raises(errors.Error, match="be limited"):
        client.act("operations", operation, "limit", {"rate": 5})
    with pytest.raises(errors.Error, match=r"rate\. Value: -5\."):
        client.act("operations", operation, "limit", {"rate": -5})


def zeros(size: int) -> Source:
    """Stored ones, which have to be read."""
    return sources.open_callback(lambda _at, length: bytes(length), size, "raw", "zeros")


class Race:
    """Copies that share a limit, one for each number of threads, until together they have moved so much."""

    def __init__(self, threads: list[int], until: int) -> None:
        self._limit = Limit(64 * MIB)
        self._until = until
        self._together = threading.Barrier(len(threads))
        self.done = [0] * len(threads)
        runners = [threading.Thread(target=self._run, args=pair) for pair in enumerate(threads)]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()

    def _run(self, index: int, threads: int) -> None:
        def report(done: int, _total: int, _data: int) -> None:
            self.done[index] = done

        with (
            zeros(4096 * MIB) as source,
            sinks.nowhere() as nowhere,
            pytest.raises(Stopped),
        ):
            self._together.wait(30)
            copy(
                source,
                nowhere,
                limits=[self._limit],
                threads=threads,
                on_progress=report,
                should_stop=lambda: sum(self.done) >= self._until,
            )


@pytest.mark.parametrize("threads", [[4, 4], [4, 4, 4], [1, 16], [2, 1, 8]])
def test_copies_share_a_limit(threads: list[int]) -> None:
    """Each gets the same of a host's limit: bytes are counted, not threads that ask."""
    race = Race(threads, 160 * MIB)
    print([f"{done / MIB:.0f} MiB" for done in race.done])
    # The burst at the beginning, and what threads have in their hands at the end, may be anybody's.
    assert min(race.done) > 0.6 * sum(race.done) / len(threads)


def test_what_one_copy_leaves_another_has() -> None:
    """A copy that is held by a limit of its own does not hold the one beside it: that one has the rest of the host's."""
    host, own, slow, ended = Limit(64 * MIB), Limit(MIB // 4), [0], threading.Event()

    def held() -> None:
        def report(done: int, _total: int, _data: int) -> None:
            slow[0] = done

        with zeros(SIZE) as source, sinks.nowhere() as nowhere, pytest.raises(Stopped):
            copy(source, nowhere, limits=[own, host], on_progress=report, should_stop=ended.is_set)

    thread = threading.Thread(target=held)
    thread.start()
    with zeros(SIZE // 2) as source, sinks.nowhere() as nowhere:
        copy(source, nowhere, limits=[host])
    ended.set()
    thread.join()
    assert slow[0] < SIZE // 8
