"""The sweep of the store of backups, beside writers that it knows nothing of."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storing import SPACE, Actor, CopyingStore, back_up, files, folder_store, make_volume, vault, verify

from nbdsvc.backup_store.collection import Sweeper, collect
from nbdsvc.backup_store.contract import BackupStore


def plain(store: BackupStore) -> BackupStore:
    """A store that moves in one step."""
    return store


@pytest.mark.parametrize("kind", ["delete", "collect"])
@pytest.mark.parametrize("order", ["backup", "sweep", "sweep, backup to its manifest"])
@pytest.mark.parametrize("moves", [plain, CopyingStore])
def test_one_within_any_two_calls_of_the_other(tmp_path: Path, kind: str, order: str, moves: Any) -> None:
    """A whole sweep between any two calls of a backup, and a backup between any two calls of a sweep: a whole one, or one that
    makes its manifest after the end of the sweep.
    """
    count = 0
    while True:
        folder = tmp_path / f"{count}"
        folder.mkdir()
        volume = make_volume(folder / "v", [b"a", b"b"])
        back_up(vault(folder).space(SPACE), volume, "first")
        volume = make_volume(folder / "v", [b"b", b"c"])

        def write(store: Any, folder: Path = folder, volume: Path = volume) -> None:
            back_up(vault(folder, store=store).space(SPACE), volume, "second", threads=1)

        def sweep(store: Any, folder: Path = folder) -> None:
            space = vault(folder, store=moves(store)).space(SPACE)
            collect(space, space.remove_manifest("first") if kind == "delete" else None)

        outer, inner = (write, sweep) if order == "backup" else (sweep, write)
        actor = Actor(folder_store(folder), outer)
        turns = sum(actor.turn() for _ in range(count))
        other = Actor(folder_store(folder), inner)
        while other.turn():
            if order.endswith("manifest") and other.call[0] == "put" and "manifests" in other.call[1]:
                break
        assert_whole(folder)
        actor.finish()
        other.finish()
        assert_whole(folder)
        space = vault(folder).space(SPACE)
        assert verify(space, "second") == 2
        collect(space)
        assert len(files(folder, "chunks/*/*")) == (2 if kind == "delete" else 3)
        assert list((folder / "store" / "spaces" / SPACE / "trash").glob("*")) == []
        shutil.rmtree(folder)
        if turns < count:
            break
        count += 1
    assert count > 10


@pytest.mark.parametrize("ends", ["goes on", "killed after it"])
def test_a_chunk_is_stored_anew_before_a_sweep_removes_it_from_its_place(tmp_path: Path, ends: str) -> None:
    """Where a move is no one step: another sweep, and a backup that counts on the chunk, come between copy and removal."""
    volume, more = make_volume(tmp_path / "v", [b"a"]), make_volume(tmp_path / "w", [b"a", b"b"])
    back_up(vault(tmp_path).space(SPACE), volume, "first")
    vault(tmp_path).space(SPACE).remove_manifest("first")

    def sweep(store: BackupStore) -> None:
        collect(vault(tmp_path, store=CopyingStore(store)).space(SPACE), sweeper=Sweeper("one"))

    slow = Actor(folder_store(tmp_path), sweep)
    while not (slow.call[0] == "remove" and "/chunks/" in slow.call[1]):
        assert slow.turn()
    space = vault(tmp_path, store=CopyingStore(folder_store(tmp_path))).space(SPACE)
    assert collect(space, sweeper=Sweeper("two")).waiting == ("one",)
    back_up(space, more, "second")
    slow.turn()
    if ends == "goes on":
        slow.finish()
    else:
        slow.kill()
    assert_whole(tmp_path)
    assert verify(space, "second") == 2
    collect(space, sweeper=Sweeper("two", lambda id: id == "one"))
    assert len(files(tmp_path, "chunks/*/*")) == 2
    assert list((tmp_path / "store" / "spaces" / SPACE / "trash").glob("*")) == []


WORK = st.lists(st.sampled_from(["new", "again", "delete", "collect"]), min_size=2, max_size=4)


@settings(max_examples=12)
@given(data=st.data(), work=WORK, moves=st.sampled_from([plain, CopyingStore]))
def test_a_sweep_beside_writers_takes_nothing_that_is_needed(
    tmp_path_factory: Any, data: st.DataObject, work: list[str], moves: Any
) -> None:
    """Backups that reuse chunks, deletions and sweeps on hosts that know nothing of each other, call by call in any order,
    some of them killed: whatever is a backup is whole at every moment, and in the end nothing else is left.
    """
    folder = tmp_path_factory.mktemp("sweep")
    old, new = make_volume(folder / "old", [b"a", b"b"]), make_volume(folder / "new", [b"b", b"c"])
    back_up(vault(folder).space(SPACE), old, "first")

    def has_ended(sweeper: str) -> bool:
        return actors[int(sweeper)].ended

    def task(index: int, kind: str) -> Actor:
        def run(store: Any) -> None:
            space, sweeper = vault(folder, store=moves(store)).space(SPACE), Sweeper(f"{index}", has_ended)
            if kind == "delete":
                collect(space, space.remove_manifest("first"), sweeper)
            elif kind == "collect":
                collect(space, sweeper=sweeper)
            else:
                back_up(space, old if kind == "again" else new, f"backup{index}", threads=1)

        return Actor(folder_store(folder), run)

    actors = {index: task(index, kind) for index, kind in enumerate(work)}
    killed: set[int] = set()
    for _step in range(data.draw(st.integers(20, 120))):
        running = [index for index, actor in actors.items() if not actor.ended]
        if not running:
            break
        index = data.draw(st.sampled_from(running))
        if data.draw(st.integers(0, 30)) == 0:
            actors[index].kill()
            killed.add(index)
        else:
            for _turn in range(data.draw(st.sampled_from((1, 3, 10, 60)))):
                actors[index].turn()
        assert_whole(folder)
    for actor in actors.values():
        actor.finish()
        assert_whole(folder)
    space = vault(folder).space(SPACE)
    for backup in space.sessions():  # of those that were killed: their hosts start again and give them up
        space.remove_manifest(backup)
        space.end_session(backup)
    collect(space)
    manifests = files(folder, "manifests/*")
    assert {
        f"backup{index}" for index, kind in enumerate(work) if kind in ("new", "again") and index not in killed
    } <= manifests
    for backup in manifests:
        verify(space, backup)
    assert files(folder, "chunks/*/*") == {id.hex() for backup in manifests for id in space.get_manifest(backup).ids()}
    assert list((folder / "store" / "spaces" / SPACE / "trash").glob("*")) == []
    shutil.rmtree(folder)


def assert_whole(folder: Path) -> None:
    """Every backup that there is has all its chunks, in their place or in the trash."""
    space = vault(folder).space(SPACE)
    there = files(folder, "chunks/*/*") | files(folder, "trash/*/*")
    for backup in files(folder, "manifests/*"):
        lost = {id.hex() for id in space.get_manifest(backup).ids()} - there
        assert not lost, (backup, lost)
