"""The outbox: complete over kinds of operations, bounded, its losses counted; and the settings and sinks."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from nbdsvc import config, errors
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume
from nbdsvc.notifications import events
from nbdsvc.notifications.audit import Audit
from nbdsvc.notifications.contract import Outcome
from nbdsvc.notifications.delivery import Delivery
from nbdsvc.notifications.sinks import LogFile, load_secret, make
from nbdsvc.operation_types import TYPES_BY_NAME
from nbdsvc.store import hosts, migrate, outbox, repositories
from nbdsvc.store.database import Database


@pytest.fixture
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """SQLite's; PostgreSQL's for a test that is marked for it."""
    on_server = getattr(request, "param", "") == "postgresql"
    made = Database(request.getfixturevalue("postgres").database() if on_server else str(tmp_path / "test.db"))
    migrate.upgrade(made)
    yield made
    made.close()


def fill(database: Database, count: int, most: int = 10**6, host: str = "me", first: int = 0) -> None:
    with database.write() as conn:
        for number in range(first, first + count):
            outbox.add(conn, host, {"message_id": str(number), "event_type": "volume.exists"}, most)


def test_every_kind_of_operation_is_decided() -> None:
    """Each kind of operation has an event, or is named as one that has none; no other name is in the tables."""
    kinds = {each.name for each in TYPES_BY_NAME.values()}
    reported = set(events.EVENTS) | set(events.BY_ARGUMENT)
    assert reported | events.UNREPORTED | {"volume.detach_all"} == kinds
    assert not reported & events.UNREPORTED
    assert set(events.MEMBERS) <= kinds
    arguments = {each.name: set(each.args.__dataclass_fields__) for each in TYPES_BY_NAME.values()}
    for table in (events.BY_ARGUMENT, events.MEMBERS):
        for kind, entries in table.items():
            assert {name for _event, _noun, name in entries} <= arguments[kind]


class _Sink:
    """Takes so many messages of each call, as `plan` says; all of them when that is over."""

    def __init__(self, plan: list[tuple[int, bool]]) -> None:
        self.plan, self.taken = plan, list[dict[str, Any]]()

    def send(self, messages: list[dict[str, Any]]) -> Outcome:
        most, refused = self.plan.pop(0) if self.plan else (len(messages), False)
        self.taken += messages[:most]
        return Outcome(most, "planned", refused) if most < len(messages) else Outcome(len(messages))


@examples(max_examples=30, deadline=None)
@given(plan=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8), sent=st.integers(0, 30))
def test_a_faulty_receiver_gets_all_but_what_it_refuses(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, bool]], sent: int
) -> None:
    """In order; what was not taken is sent again; each refused one is counted, and the sum is what was sent."""
    database = Database(str(tmp_path_factory.mktemp("o") / "test.db"))
    migrate.upgrade(database)
    fill(database, sent)
    sink = _Sink(plan)
    delivery = Delivery(database, "me", sink, 7)
    with database.read() as conn:
        assert outbox.count(conn) == sent
    for _ in range(60):
        delivery._not_before = delivery._loss_not_before = 0  # its pauses are for a receiver in the real world
        delivery.look()
    numbers = [int(each["message_id"]) for each in sink.taken if each["event_type"] == "volume.exists"]
    lost = sum(each["payload"]["lost"] for each in sink.taken if each["event_type"] == "notification.lost")
    assert numbers == sorted(set(numbers))
    assert len(numbers) + lost == sent
    with database.read() as conn:
        assert (outbox.count(conn), outbox.loss_of(conn, "me")) == (0, None)
    database.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_the_oldest_go_and_the_loss_is_told(database: Database) -> None:
    """Beyond the bound of rows the oldest are removed, whoever was to deliver them, and counted by host."""
    fill(database, 5, host="other")
    fill(database, 10, most=8, first=5)
    with database.read() as conn:
        assert [each.message["message_id"] for each in outbox.waiting(conn, "me", 100)] == [
            str(n) for n in range(7, 15)
        ]
        mine, others = outbox.loss_of(conn, "me"), outbox.loss_of(conn, "other")
    assert mine and others and (mine.lost, others.lost) == (2, 5)
    fill(database, 1, most=8, first=15)
    with database.write() as conn:
        outbox.loss_reported(conn, "me", mine)
        left = outbox.loss_of(conn, "me")
    assert left and left.lost == 1


def test_what_is_too_old_goes(database: Database) -> None:
    """After notification_days a message is removed and counted; younger ones stay."""
    fill(database, 3)
    with database.write() as conn:
        conn.exec_driver_sql("UPDATE notifications SET created_at = '2001-01-01 00:00:00.000000' WHERE sequence < 3")
        assert outbox.remove_older(conn, "me", clock.now() - timedelta(days=7)) == 2
        found = outbox.loss_of(conn, "me")
        assert found and (found.lost, found.oldest.year) == (2, 2001)
        assert outbox.count(conn) == 1


def test_messages_of_a_lost_host_are_delivered_by_another(database: Database) -> None:
    """A host that was declared lost delivers nothing any more; one that is only away keeps its own."""
    fill(database, 2, host="lost")
    fill(database, 2, host="away", first=2)
    with database.write() as conn:
        hosts.declare_lost(conn, "lost")
    sink = _Sink([])
    Delivery(database, "me", sink, 7).look()
    assert [each["message_id"] for each in sink.taken] == ["0", "1"]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """What does not fit is not in the file at all, and what fits later is a line of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        sink = LogFile(folder / "events")
        assert sink.send([{"a": 1}]) == Outcome(1)
        (folder / "filler").write_bytes(bytes(40 << 10))
        assert sink.send([{"long": "x" * (60 << 10)}]).delivered == 0
        assert sink.send([{"b": 2}]) == Outcome(1)
        assert [json.loads(line) for line in (folder / "events").read_text().splitlines()] == [{"a": 1}, {"b": 2}]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_no_link_and_no_pipe_is_written(tmp_path: Path) -> None:
    """A symbolic link is not followed, and a pipe without a reader does not hang the delivery."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        assert LogFile(tmp_path / name).send([{"a": 1}]).delivered == 0
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("notifications", "events"), ("notifications", "ftp://h/x"), ("notifications", "http://u:p@h/x"),
     ("notifications", "http://h:99999/"), ("notifications", "http:///x"), ("notification_rows", "10"),
     ("notification_days", "0"), ("notification_audit_hours", "-1"), ("notification_audit_hours", "0.001")],
)  # fmt: skip
def test_a_wrong_setting_is_named(setting: str, value: str) -> None:
    """What makes no sense is a ConfigError that names the setting; a password in a URL is not in the message."""
    with pytest.raises(errors.ConfigError) as caught:
        config.load(None, {f"NBDSVC_{setting.upper()}": value})
    assert caught.value.facts["setting"] == setting
    assert "u:p" not in str(caught.value)


def test_a_url_needs_a_secret_that_only_its_owner_can_read(tmp_path: Path) -> None:
    """None, one that others may read, and a short one are refused."""
    with pytest.raises(errors.ConfigError, match="notification_secret_file"):
        config.load(None, {"NBDSVC_NOTIFICATIONS": "http://127.0.0.1:1/"})
    path = tmp_path / names.new_id()
    settings = {"NBDSVC_NOTIFICATIONS": "http://127.0.0.1:1/", "NBDSVC_NOTIFICATION_SECRET_FILE": str(path)}
    for mode, content, reason in ((0o640, b"x" * 32, "others may read it"), (0o600, b"short", "at least 16")):
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(errors.ConfigError, match=reason):
            make(config.load(None, settings))
        path.unlink()
    with pytest.raises(errors.ConfigError, match="No such file"):
        load_secret(path)


def test_an_audit_of_many_volumes_waits_for_room(database: Database) -> None:
    """Pages come when half of the outbox is free, each volume once, all with the same period, however late it ends."""
    with database.write() as conn:
        for number in range(250):
            repositories.volumes.insert(conn, _volume(number))
    audit = Audit(database, "me", 1, 300)
    audit.look()
    with database.write() as conn:
        outbox.note_audit(conn, "me", clock.now() - timedelta(hours=3))
    found: list[dict[str, Any]] = []
    for _ in range(6):
        audit.look()
        with database.write() as conn:
            waiting = outbox.waiting(conn, "me", 1000)
            assert len(waiting) <= 250
            outbox.delivered(conn, [each.sequence for each in waiting])
        found += [each.message["payload"] for each in waiting]
    assert sorted(each["volume_id"] for each in found) == sorted(_volume(number).id for number in range(250))
    assert len({(each["audit_period_beginning"], each["audit_period_ending"]) for each in found}) == 1


def _volume(number: int) -> Volume:
    id, then = f"00000000-0000-4000-8000-{number:012}", clock.now() - timedelta(days=1)
    return Volume(id, "p", "u", 1, "available", "me", "file", "file", created_at=then)


def test_each_host_delivers_its_own(database: Database) -> None:
    """Two hosts at one database: what they deliver is all, and nothing of it twice."""
    for number, host in enumerate(("one", "two", "one", "two", "two")):
        fill(database, 1, host=host, first=number)
    sinks = {host: _Sink([]) for host in ("one", "two")}
    deliveries = [Delivery(database, host, sink, 7) for host, sink in sinks.items()]
    for _ in range(2):
        for each in deliveries:
            each.look()
    assert {host: [each["message_id"] for each in sink.taken] for host, sink in sinks.items()} == {
        "one": ["0", "2"], "two": ["1", "3", "4"]}  # fmt: skip
