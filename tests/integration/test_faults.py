"""What goes wrong around the service: full disks, vanished pools, taken ports, two services, damaged databases, clocks."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import export_process
import pytest
import shifted
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc import errors
from nbdsvc.model import names


def test_two_services_on_one_state_folder(service: ServiceProcess) -> None:
    """The second one does not start and names the process that runs."""
    other = ServiceProcess(service.state.parent)
    other.log = service.state.parent / "other.log"
    assert service.process
    with pytest.raises(AssertionError, match=f"process {service.process.pid} already serves host me"):
        other.start()


def test_port_in_use(make_service: Callable[..., ServiceProcess]) -> None:
    """Said at once, with the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match="cannot be listened on: Address already in use"):
            make_service(port=taken.getsockname()[1])


def test_damaged_database_file(make_service: Callable[..., ServiceProcess]) -> None:
    """The service refuses to start on a file that is no database, and does not touch it."""
    service = make_service(start=False)
    path = service.state / "nbdsvc.db"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(AssertionError, match="database file is damaged"):
        service.start()
    assert path.read_bytes() == b"garbage" * 1000


def test_an_image_that_would_overrun_the_pool_is_not_begun(make_service: Callable[..., ServiceProcess]) -> None:
    """More bytes than are free: the creation fails with a message before the first byte, and nothing stays in the pool."""
    service = make_service(driver="memory", driver_options=f"capacity = {100 << 20}")
    image = service.state / "images" / "large.raw"
    for size, status in ((101 << 20, "error"), (99 << 20, "available")):
        with image.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        made = service.client().post("volumes", body={"volume": {"size": 1, "imageRef": "large.raw"}})["volume"]["id"]
        assert service.wait_status("volumes", made) == status
        if status == "error":  # there is nothing to connect, whatever the backend would say of that
            with pytest.raises(errors.RequestError, match="status is error"):
                service.client().act("volumes", made, "os-initialize_connection", {"connector": {"host": "me"}})
        found = service.client().get("operations", resource_id=made)["operations"][0]
        assert (found["error"] is None) == (status == "available")
        assert (
            status == "available" or "101.0 MiB are to be written, and 100.0 MiB are free" in found["error"]["message"]
        )
        service.client().delete("volumes", made)
        assert service.wait_status("volumes", made) == "gone"


@pytest.mark.row("S006", "S020", "S022", "S061")
def test_vanished_pool_makes_the_service_down_until_it_is_back(service: ServiceProcess) -> None:
    """Without its pool the host reports down and refuses; with the pool back it works without a restart."""
    client, pool = service.client(), service.state / "pool"

    def state() -> str:
        return str(client.get("os-services")["services"][0]["state"])

    pool.rename(service.state / "away")
    wait_until(lambda: state() == "down")
    with pytest.raises(
        errors.BackendUnavailable, match="No valid backend: .*: BackendStateFilter: the backend is down"
    ):
        client.post("volumes", body={"volume": {"size": 1}})
    if pool.exists():
        pool.rmdir()
    (service.state / "away").rename(pool)
    wait_until(lambda: state() == "up")
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]
    assert service.wait_status("volumes", made["id"]) == "available"


@pytest.mark.row("S023", "S074")
def test_full_disk_in_the_middle_of_a_copy(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """The volume ends in error with the reason on its operation; nothing of it is left in the pool; delete works."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(mounted)], check=True)
    try:
        service = make_service(pool=mounted / "pool", driver="memory")
        (service.state / "images" / "big.raw").write_bytes(os.urandom(64 << 20))
        client = service.client()
        made = client.post("volumes", body={"volume": {"size": 1, "imageRef": "big.raw"}})["volume"]
        assert service.wait_status("volumes", made["id"]) == "error"
        operation = client.operation_of(made["id"])
        assert "No space left" in operation["error"]["message"]
        assert list((mounted / "pool" / "volumes").iterdir()) == []
        client.delete("volumes", made["id"])
        assert service.wait_status("volumes", made["id"]) == "gone"
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.row("S024", "S026", "S092")
def test_backend_faults_end_in_the_promised_status(make_service: Callable[..., ServiceProcess]) -> None:
    """Busy: back as it was. Broken: error_deleting, error_extending with the quota given back; a repeated delete works."""
    service = make_service(driver="memory")
    client, faults = service.client(), Faults(service.state / "pool", "file")
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    service.wait_status("snapshots", snapshot)
    for verb, error, request, noun, id, expected in (
        ("delete_snapshot", "DeviceBusy", lambda: client.delete("snapshots", snapshot), "snapshots", snapshot, "available"),
        ("delete_snapshot", "CommandFailed", lambda: client.delete("snapshots", snapshot), "snapshots", snapshot, "error_deleting"),
        ("delete_snapshot", None, lambda: client.delete("snapshots", snapshot), "snapshots", snapshot, "gone"),
        ("extend_volume", "OutOfSpace", lambda: client.act("volumes", volume, "os-extend", {"new_size": 9}), "volumes", volume, "error_extending"),
    ):  # fmt: skip
        faults.plan({verb: [{"error": error}]} if error else {})
        request()
        assert service.wait_status(noun, id) == expected
    assert client.get("os-quota-sets", "p1", usage="true")["quota_set"]["gigabytes"]["in_use"] == 1
    client.act("volumes", volume, "os-reset_status", {"status": "available"})
    faults.plan(
        {
            "delete_volume": [
                {"error": "DeviceBusy", "times": 1},
                {"error": "CommandFailed", "when": "after", "times": 1},
            ]
        }
    )
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "available"
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "error_deleting"
    client.act("volumes", volume, "os-force_delete")
    assert service.wait_status("volumes", volume) == "gone"
    assert service.leftovers() == []


@pytest.mark.row("S053")
def test_source_is_not_deleted_while_it_is_copied(make_service: Callable[..., ServiceProcess]) -> None:
    """Deleting a snapshot waits for the volume that is being made of it; both end as requested."""
    service = make_service(driver="memory", driver_options="instant_clone = false")
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    with (service.state / "pool" / "volumes" / f"volume-{volume}").open("r+b") as file:
        file.write(b"\7" * (200 << 20))
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    service.wait_status("snapshots", snapshot)
    made = [client.post("volumes", body={"volume": {"snapshot_id": snapshot}})["volume"]["id"] for _ in range(3)]
    client.delete("snapshots", snapshot)
    assert [service.wait_status("volumes", id) for id in made] == ["available"] * 3
    assert service.wait_status("snapshots", snapshot) == "gone"
    for id in made:
        with (service.state / "pool" / "volumes" / f"volume-{id}").open("rb") as file:
            assert file.read(200 << 20) == b"\7" * (200 << 20)
    assert service.leftovers() == []


def test_idle_service_is_small_and_quiet(service: ServiceProcess) -> None:
    """Resident memory below 120 MB, and of a processor's time less than a tenth of what lies between two reports."""
    assert service.process
    pid, reports = service.process.pid, 10

    def seconds() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    _wait_for_reports(service, 2)
    before = seconds()
    _wait_for_reports(service, reports)
    used, interval = seconds() - before, float(str(service.settings["REPAIR_INTERVAL"]))
    rss = int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
    print(f"idle: {rss // 1024} MiB resident, {100 * used / reports / interval:.2f} % of a processor")
    assert rss < 120 * 1024
    # The processor time of this process, to which other load adds nothing; it was 1.5 % when the test was written.
    assert used < 0.1 * reports * interval


def _wait_for_reports(service: ServiceProcess, count: int) -> None:
    """Until the host has reported so often; from its database, because a request would not leave it idle."""
    with contextlib.closing(sqlite3.connect(service.state / "nbdsvc.db")) as connection:

        def reported() -> str:
            return str(connection.execute("SELECT max(updated_at) FROM backends").fetchone()[0])

        for _ in range(count):
            last = reported()
            wait_until(lambda last=last: reported() != last)  # type: ignore[misc]


def test_stop_is_clean(service: ServiceProcess) -> None:
    """SIGTERM ends the service with status 0 and releases its host name."""
    assert service.process
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    service.start()


@pytest.mark.parametrize("jump", [259200, -259200])
def test_a_clock_that_jumps(make_service: Callable[..., ServiceProcess], tmp_path: Path, jump: int) -> None:
    """By three days while an operation with a deadline runs: it ends whole, exports stay, new volumes are made at once."""
    service = make_service(start=False, driver="memory", operation_deadline=120, repair_interval=60)
    clock = shifted.shift(service, shifted.library(tmp_path), 0)
    client = service.start().client()
    content = os.urandom(64 << 20)
    (service.state / "images" / "base.raw").write_bytes(content)
    attached = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", attached) == "available"
    connection = {"volume_uuid": attached, "connector": {"host": "me", "ip": "127.0.0.1"}}
    attachment = client.post("attachments", body={"attachment": connection})["attachment"]["id"]
    server = export_process.shell_of(service.state, attachment)

    slow = [{"when": "after", "error": None, "delay": 2, "times": 1}]
    Faults(service.state / "pool", "file").plan({"create_volume": slow})
    copied = client.post("volumes", body={"volume": {"size": 1, "imageRef": "base.raw"}})["volume"]["id"]
    wait_until((service.state / "pool" / "faults.count.json").exists)
    clock.write_text(str(jump))
    later = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert client.get("os-services")["services"][0]["state"] == "up"
    assert service.wait_status("volumes", copied) == "available"
    with (service.state / "pool" / "volumes" / f"volume-{copied}").open("rb") as file:
        assert file.read(len(content)) == content
    assert service.wait_status("volumes", later) == "available"
    assert export_process.shell_of(service.state, attachment) == server
    wait_until(lambda: "the clock jumped" in service.log.read_text())
    assert service.log.read_text().count("the clock jumped") == 1


def test_a_journal_that_no_copy_needs_goes(make_service: Callable[..., ServiceProcess]) -> None:
    """Whatever left it behind; the journal of a copy that runs stays until that ends."""
    service = make_service(copy_rate=8 << 20)
    (service.state / "images" / "base.raw").write_bytes(os.urandom(24 << 20))
    client, journals = service.client(), service.state / "journals"
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    [ended] = client.get("operations")["operations"]
    copied = client.post("volumes", body={"volume": {"size": 1, "imageRef": "base.raw"}})["volume"]["id"]
    wait_until(lambda: any(journals.glob("*")))
    running = set(journals.iterdir())
    left = [journals / f"{id}.copy" for id in (ended["id"], names.new_id())]
    for path in left:
        path.touch()
    wait_until(lambda: not any(path.exists() for path in left))
    assert set(journals.iterdir()) == running
    assert service.wait_status("volumes", copied) == "available"
    wait_until(lambda: not any(journals.iterdir()))
