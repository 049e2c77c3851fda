"""A migration in use without a real server: the hooks of drivers around it, and how it is settled after its host was lost."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.driver import VolumeRef
from nbdsvc.exporter import MirrorState
from nbdsvc.host import Backend, Host
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.model.entities import Attachment, Move, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Operation
from nbdsvc.store import hosts, lost_places, moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.volumes.moves.in_use import MIGRATE_IN_USE, STEPS
from nbdsvc.volumes.moves.left import FINISH_MOVE, FinishMoveArgs
from nbdsvc.volumes.moves.mirror import InUseArgs


class Scene:
    """A volume in use in pool p of backend a, which goes to pool q of backend b; `walk` is what drivers and server did."""

    def __init__(self, database: Database, folder: Path, backends: tuple[str, str]) -> None:
        self.walk: list[str] = []
        self.exporter = Server(self.walk)
        made = {
            name: Backend(name, cast("Any", Driver(name, self.walk)), (cast("Any", self.exporter),)) for name in "ab"
        }
        host = Host("h", made, database, *cast("Any", [None, None, folder, None, None]))
        source, destination = backends
        volume = Volume(names.new_id(), "p", "u", 1, "in-use", "h", source, "p", migration_status="migrating")
        attachment = Attachment(names.new_id(), volume.id, "p", "attached", protocol="nbd", exported=True)
        operation = Operation(
            names.new_id(), "volume.migrate_in_use", "h", "p", "volume", volume.id, {"attachment_id": attachment.id}, []
        )
        with database.write() as conn:
            repositories.volumes.insert(conn, volume)
            repositories.attachments.insert(conn, attachment)
            repositories.moves.insert(
                conn, Move(volume.id, operation.id, 1, "h", destination, "q", volume_type_id=None)
            )
            journal.insert(conn, operation)
        args = InUseArgs(volume.id, attachment_id=attachment.id)
        self.run: Any = SimpleNamespace(
            environment=host, id=operation.id, args=args, results={"move": {"moved": False}}, rate=0, operation=operation,
            raise_if_stopped=lambda: None, progress=lambda *_given: None,
        )  # fmt: skip

    def do(self, *steps: str) -> None:
        for step in STEPS:
            if step.name in steps:
                step.do(self.run)

    def undo(self, *steps: str) -> None:
        for step in reversed(STEPS):
            if step.name in steps and step.undo:
                step.undo(self.run)


class Driver:
    """Notes the calls around a copy."""

    def __init__(self, name: str, walk: list[str]) -> None:
        self._name, self._walk = name, walk
        self.facts = SimpleNamespace(thin=False)

    def location(self, ref: VolumeRef) -> Location:
        return Location.file(Path("/", ref.pool))

    def delete_volume(self, ref: VolumeRef) -> None:
        self._walk.append(f"{self._name} delete {ref.pool}")

    def before_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: str | None) -> None:
        self._walk.append(f"{self._name} before {source.pool}-{destination.pool} {remote}")

    def after_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: str | None) -> None:
        self._walk.append(f"{self._name} after {source.pool}-{destination.pool} {remote}")


class Server:
    """A transport whose server mirrors at once. fails: it refuses to switch. is_deciding: it writes the record of a switch."""

    protocol = "nbd"

    def __init__(self, walk: list[str]) -> None:
        self._walk = walk
        self._state, self._destination = "none", Location.file(Path("/q"))
        self.fails = False
        self.is_deciding = False

    def start_mirror(self, _id: str, _destination: Location, **_how: Any) -> None:
        self._walk.append("mirror")
        self._state = "synchronised"

    def mirror_state(self, _id: str) -> MirrorState:
        return MirrorState(self._state, 1, 1)

    def switch_mirror(self, _id: str) -> None:
        if self.fails:
            raise errors.ExportFailed(export="e", reason="not now")
        self._walk.append("switch")
        self._state = "switched"

    def end_mirror(self, _id: str, source: Location) -> Location | None:
        if self.is_deciding:
            raise errors.ExportFailed(export="e", reason="the record of its switch is being written")
        if self._state == "synchronised":
            self._walk.append("cancel")
            self._state = "none"
        return self.moved_to(_id, source)

    def moved_to(self, _id: str, _source: Location) -> Location | None:
        return self._destination if self._state == "switched" else None

    def forget_move(self, _id: str) -> None:
        self._walk.append("forget")
        self._state = "none"

    def records(self) -> dict[str, tuple[Location, Location]]:
        return {"e": (Location.file(Path("/p")), self._destination)} if self._state == "switched" else {}

    def remove(self, _id: str) -> None: ...
    def limit_mirror(self, *_given: Any) -> None: ...
    def health(self, *_given: Any) -> None: ...


ONE, TWO = ("a", "a"), ("a", "b")
BEFORE = {ONE: ["a before p-q None"], TWO: ["a before p-q dest", "b before p-q src"]}
AFTER = {pair: [each.replace("before", "after") for each in calls] for pair, calls in BEFORE.items()}


@pytest.fixture(params=[ONE, TWO], ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    return cast("tuple[str, str]", request.param)


@pytest.fixture
def scene(database: Database, tmp_path: Path, pair: tuple[str, str]) -> Scene:
    return Scene(database, tmp_path, pair)


def test_the_second_hook_comes_when_the_server_has_switched(scene: Scene, pair: tuple[str, str]) -> None:
    """With both places in the order of the first hook, though the rows have changed theirs."""
    scene.do("mirror")
    assert scene.walk == [*BEFORE[pair], "mirror"]
    scene.do("switch", "finish")
    assert scene.walk == [*BEFORE[pair], "mirror", "switch", *AFTER[pair]]


@pytest.mark.parametrize("steps", [("mirror",), ("mirror", "switch")])
def test_the_second_hook_comes_when_the_mirror_was_cancelled(
    scene: Scene, pair: tuple[str, str], steps: tuple[str, ...]
) -> None:
    """Also where it is the server that refuses to switch."""
    scene.exporter.fails = True
    if len(steps) > 1:
        with pytest.raises(errors.ExportFailed):
            scene.do(*steps)
    else:
        scene.do(*steps)
    scene.undo(*steps)
    assert scene.walk == [*BEFORE[pair], "mirror", "cancel", *AFTER[pair]]


def test_a_server_that_does_not_say_where_the_volume_is_keeps_both_places(
    scene: Scene, database: Database, pair: tuple[str, str]
) -> None:
    """Its mirror cannot be ended, because it writes the record of its switch: nothing is removed, commands for the volume are
    refused with that reason, and maintenance goes by the record.
    """
    scene.do("mirror")
    scene.walk.clear()
    scene.exporter.is_deciding = True
    run, id = scene.run, scene.run.args.volume_id
    with pytest.raises(errors.Conflict, match=moves.UNKNOWN_PLACE) as caught:
        scene.undo("create")
    assert scene.walk == []
    failed = errors.RollbackFailed(operation=run.id, step="create", cause="c", undo_error=str(caught.value))
    with database.write() as conn:
        journal.update_on(conn, "h", run.id, state="rollback_failed", error=errors.facts_of(failed))
        MIGRATE_IN_USE.fail(conn, replace(journal.rows.get(conn, run.id), results=run.results), run.args, failed)
        volume = repositories.volumes.get(conn, id)
        with pytest.raises(errors.Conflict, match="may have been taken to"):
            App.end_move(conn, volume, locks("volume.extend", volume=id))
    scene.exporter.is_deciding = False
    finishing_run = finishing(scene)
    finishing_run.operation.step_backend = pair[1]
    FINISH_MOVE.steps[0].do(finishing_run)
    assert scene.walk == ["cancel", *AFTER[pair], f"{pair[1]} delete q"]


def ended_with_its_host(scene: Scene, database: Database, *, is_forgotten: bool) -> None:
    """The end that is made of the migration when its host is declared lost; then the host returns."""
    run = scene.run
    with database.write() as conn:
        hosts.declare_lost(conn, "h")
        found = replace(journal.rows.get(conn, run.id), results=run.results)
        MIGRATE_IN_USE.fail(
            conn, found, run.args, errors.BackendUnavailable(backend="h", reason="it was declared lost")
        )
        lost_places.remember(conn, repositories.moves.get(conn, run.args.volume_id))
        if is_forgotten:
            journal.rows.delete(conn, run.id)
        hosts.let_return(conn, "h")
        assert lost_places.bring_back(conn, "h") == 1


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_rows_follow_the_record_of_a_host_that_was_lost_in_between(
    scene: Scene, database: Database, pair: tuple[str, str], is_forgotten: bool
) -> None:
    """The server had switched, and the rows had not: when the host is back, the volume is where the server took it, and only
    then the former place goes; also where the operation is not known any more.
    """
    scene.do("mirror")
    scene.exporter.switch_mirror("e")
    ended_with_its_host(scene, database, is_forgotten=is_forgotten)
    scene.walk.clear()
    run, id = finishing(scene), scene.run.args.volume_id
    with pytest.raises(errors.Conflict, match="where its export's server has taken it"):
        FINISH_MOVE.steps[0].do(run)
    with database.read() as conn:
        assert repositories.volumes.get(conn, id).full_host == f"h@{pair[1]}#q"
    assert scene.walk == []
    run.operation.step_backend = pair[0]
    FINISH_MOVE.steps[0].do(run)
    assert scene.walk == [f"{pair[0]} delete p", "forget"]


def test_what_a_lost_host_has_of_a_destination_is_removed_when_it_is_back(
    scene: Scene, database: Database, pair: tuple[str, str]
) -> None:
    """The server had not switched: the volume is where it was."""
    scene.do("mirror")
    ended_with_its_host(scene, database, is_forgotten=False)
    scene.walk.clear()
    run = finishing(scene)
    run.operation.step_backend = pair[1]
    FINISH_MOVE.steps[0].do(run)
    assert scene.walk == ["cancel", *AFTER[pair], f"{pair[1]} delete q"]
    with database.read() as conn:
        assert repositories.volumes.get(conn, run.args.volume_id).pool == "p"


def finishing(scene: Scene) -> Any:
    args = FinishMoveArgs(scene.run.args.volume_id)
    return SimpleNamespace(environment=scene.run.environment, args=args, operation=SimpleNamespace(step_backend=""))
