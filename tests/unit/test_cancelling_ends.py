"""A request changes an attachment or a volume and cancels its operation, while that ends or switches: on PostgreSQL the two
change the same rows, and each must take them in one order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from crossing import meeting

from nbdsvc import errors
from nbdsvc.attachments.connect import CONNECT_ATTACHMENT, ConnectArgs
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.entities import Attachment, Move, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations import lost_host
from nbdsvc.operations.journal import Journal
from nbdsvc.operations.operation_type import args_to_json
from nbdsvc.store import hosts, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.volumes.moves import between_in_use, switch
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.mirror import InUseArgs

pytestmark = pytest.mark.parametrize("kind_of_database", ["postgresql"])  # SQLite has one writer at a time
EXPORT = {"export": {"driver_volume_type": "nbd"}}


@dataclass
class Scene:
    """A volume that is attached, and is moved from `one` to `two` or connected by an operation that runs."""

    database: Database
    volume: Volume = field(
        default_factory=lambda: Volume(
            names.new_id(), "p", "u", 1, "in-use", "one", "b", "p", migration_status="migrating"
        )
    )
    attachment: Attachment = field(init=False)
    operation: Operation = field(init=False)

    def __post_init__(self) -> None:
        self.attachment = Attachment(names.new_id(), self.volume.id, "p", "attaching", exported=True)
        args = args_to_json(ConnectArgs(self.volume.id, self.attachment.id, True))
        self.operation = Operation(
            names.new_id(), CONNECT_ATTACHMENT.name, "one", "p", "volume", self.volume.id, args, [],
            backend="b", state=model.RUNNING, results=EXPORT,
        )  # fmt: skip
        with self.database.write() as conn:
            repositories.volumes.insert(conn, self.volume)
            repositories.attachments.insert(conn, self.attachment)
            repositories.moves.insert(conn, Move(self.volume.id, self.operation.id, 1, "two", "b", "p", None))
            journal.insert(conn, self.operation)

    def run(self, **args: object) -> Any:
        """A step's run, as far as a switch needs it."""
        host = SimpleNamespace(database=self.database)
        return SimpleNamespace(
            environment=host, id=self.operation.id, results=EXPORT, make_home=lambda _conn: None, **args
        )

    def attached(self, conn: sa.Connection) -> object:
        return repositories.attachments.get_for_update(conn, self.attachment.id)

    def held(self, conn: sa.Connection) -> object:
        return repositories.volumes.get_for_update(conn, self.volume.id)

    def succeed(self) -> None:
        args = ConnectArgs(self.volume.id, self.attachment.id, True)
        Journal(self.database, "one").succeed(CONNECT_ATTACHMENT, self.operation, args, EXPORT)

    def fail(self) -> None:
        args = ConnectArgs(self.volume.id, self.attachment.id, True)
        error = errors.ExportFailed(export=self.attachment.id, reason="x")
        Journal(self.database, "one").fail(CONNECT_ATTACHMENT, self.operation, args, error)

    def end_lost(self) -> None:
        with self.database.write() as conn:
            hosts.declare_lost(conn, "one")
        lost_host.settle(self.database, "one", {CONNECT_ATTACHMENT.name: CONNECT_ATTACHMENT})

    def switch(self) -> None:
        switch.switch(self.run(args=MoveArgs(self.volume.id)))

    def switch_in_use(self) -> None:
        between_in_use._switch(self.run(args=InUseArgs(self.volume.id, attachment_id=self.attachment.id)))


ENDS: list[Callable[[Scene], None]] = [Scene.succeed, Scene.fail, Scene.end_lost]
SWITCHES: list[Callable[[Scene], None]] = [Scene.switch, Scene.switch_in_use]


@pytest.mark.parametrize("hold", [Scene.attached, Scene.held])
@pytest.mark.parametrize("end", ENDS)
def test_an_end_waits_before_it_holds_its_operation(
    database: Database, end: Callable[[Scene], None], hold: Callable[[Scene, sa.Connection], object]
) -> None:
    """It ends after the request, whose cancel changes nothing any more."""
    scene = Scene(database)
    with meeting(database, lambda conn: hold(scene, conn), lambda: end(scene)) as (conn, ended):
        assert journal.request_cancel(conn, scene.operation.id)
    assert ended.exception() is None
    with database.read() as conn:
        assert journal.rows.get(conn, scene.operation.id).finished


@pytest.mark.parametrize("switched", SWITCHES)
def test_a_switch_waits_before_it_holds_its_operation(database: Database, switched: Callable[[Scene], None]) -> None:
    """It sees that it was cancelled."""
    scene = Scene(database)
    with meeting(database, scene.held, lambda: switched(scene)) as (conn, ended):
        assert journal.request_cancel(conn, scene.operation.id)
    assert isinstance(ended.exception(), errors.Cancelled)
    with database.read() as conn:
        assert not repositories.moves.get(conn, scene.volume.id).switched
