"""The store of backups: format, keys, faults of the store, and damage."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storing import SPACE, back_up, files, folder_store, make_volume, vault, verify

from nbdsvc import errors
from nbdsvc.backup_store import keys, manifest, sealed
from nbdsvc.backup_store.collection import collect
from nbdsvc.backup_store.contract import Missing
from nbdsvc.backup_store.faulty import Fault, FaultyStore
from nbdsvc.backup_store.folder import FolderStore
from nbdsvc.backup_store.manifest import CHUNK, Manifest
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.space import MOST_CHUNK, Space
from nbdsvc.backup_store.writing import Writer
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.location import Location

GOLDEN = Path(__file__).parent / "golden" / "backup-1"
MASTER = bytes(range(32))


def restored(space: Space, id: str, path: Path, *, over: bytes = b"") -> bytes:
    """What the data path writes: to an empty file, or over one that has something everywhere."""
    reader = Reader(space, space.get_manifest(id))
    reader.check_present()
    size = space.get_manifest(id).size
    path.write_bytes(over * size if over else b"")
    os.truncate(path, size)
    with reader.open() as source:
        copy(source, Location.file(path), destination_is_zero=not over)
    return path.read_bytes()


@pytest.mark.parametrize("master", [None, MASTER])
@pytest.mark.parametrize("compress", [True, False])
def test_what_is_backed_up_is_restored(tmp_path: Path, master: bytes | None, compress: bool) -> None:
    """Data, zeros, equal chunks and an odd end, to an empty volume and over another one; equal chunks are stored once."""
    data = random.Random(1).randbytes(CHUNK)
    volume = make_volume(tmp_path / "v", [data, b"", data, b"a", b"", data[:77]], tail=CHUNK - 512)
    space = vault(tmp_path, master, compress=compress).space(SPACE)
    written = back_up(space, volume, "one", compress=compress)
    assert (written.chunks, written.new) == (4, 3)
    assert len(files(tmp_path, "chunks/*/*")) == 3
    assert restored(space, "one", tmp_path / "out") == volume.read_bytes()
    assert restored(space, "one", tmp_path / "out", over=b"x") == volume.read_bytes()
    assert verify(space, "one") == 3
    clear = any(data[:64] in path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert clear is (master is None)


def test_an_incremental_backup_stores_what_has_changed(tmp_path: Path) -> None:
    """And it is whole without the backup that it builds on."""
    space, path = vault(tmp_path).space(SPACE), tmp_path / "v"
    back_up(space, make_volume(path, [b"a", b"b", b"c"]), "full")
    written = back_up(space, make_volume(path, [b"a", b"B", b"c"]), "more", "full")
    assert (written.new, written.chunks) == (1, 3)
    assert collect(space, space.remove_manifest("full")).chunks == 1
    assert restored(space, "more", tmp_path / "out") == path.read_bytes()


def test_progress_ends_with_the_whole_and_never_exceeds_it(tmp_path: Path) -> None:
    """Also where chunks are lost by the store, and are read and stored once more."""
    store, seen = FaultyStore(folder_store(tmp_path)), list[tuple[int, int]]()
    store.faults = [Fault("put", "lost", "chunks", times=3)]
    volume = make_volume(tmp_path / "v", [b"a", b"", b"b", b"c"], tail=512)
    space = vault(tmp_path, store=store).space(SPACE)
    space.begin_session("one", {})
    with sources.open_path(volume) as source:
        Writer(space, source).write("one", {}, lambda done, total, _data: seen.append((done, total)))
    assert all(done <= total for done, total in seen)
    assert seen[-1] == (volume.stat().st_size, volume.stat().st_size)


def test_an_object_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Of a chunk or a manifest that has grown to more than any of ours it is said so, whatever is in it."""
    space = vault(tmp_path).space(SPACE)
    back_up(space, make_volume(tmp_path / "v", [b"a"]), "one")
    (chunk,) = space.chunks()
    for name in (space.chunk_name(chunk), space.manifest_name("one")):
        os.truncate(tmp_path / "store" / name, 1 << 40)
    with pytest.raises(ValueError, match=f"and may have {MOST_CHUNK}"):
        space.get_chunk(chunk)
    with pytest.raises(errors.BackupDamaged, match=f"and may have {manifest.MOST_BYTES}"):
        space.get_manifest("one")
    with pytest.raises(errors.BackupDamaged, match="and may have"):
        collect(space)


def test_the_format_is_that_of_the_golden_files(tmp_path: Path) -> None:
    """Backups of version 1 are read by every later version: clear, compressed and sealed ones, and never written otherwise."""
    for name, master in (("clear", None), ("sealed", MASTER)):
        shutil.copytree(GOLDEN / name, tmp_path / name / "store")
        space = vault(tmp_path / name, master).space(SPACE)
        found = space.get_manifest("00000000-0000-4000-8000-000000000001")
        assert found.description == {"name": "golden"}
        content = restored(space, found.backup_id, tmp_path / "out")
        assert content[:6] + content[2 * CHUNK :] == b"golden" + b"end" + bytes(509)
        assert not any(content[6 : 2 * CHUNK])
    stored = next((GOLDEN / "clear").glob("spaces/*/manifests/*")).read_bytes()
    ids = manifest.ids_of(stored)
    assert ids == {
        keys.SpaceKeys(None, SPACE).id_of(each) for each in (b"golden" + bytes(CHUNK - 6), b"end" + bytes(509))
    }


@settings(max_examples=60)
@given(st.data())
def test_no_damage_is_taken_for_content(data: st.DataObject) -> None:
    """A chunk or manifest of which any byte is changed, that is cut, or has more behind it, is refused."""
    master = data.draw(st.sampled_from([None, MASTER]))
    space, content = keys.SpaceKeys(master, SPACE), data.draw(st.binary(min_size=1, max_size=200))
    id = space.id_of(content)
    chunk = sealed.encode(sealed.CHUNK_MAGIC, space, id, content, compress=data.draw(st.booleans()))
    made = Manifest("b", CHUNK * 2 + 1, (id, None, id), {"n": 1}).encode(space)
    for stored, is_chunk in ((chunk, True), (made, False)):
        kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
        at = data.draw(st.integers(0, len(stored) - 1))
        damaged = {
            "flip": stored[:at] + bytes([stored[at] ^ data.draw(st.integers(1, 255))]) + stored[at + 1 :],
            "cut": stored[:at],
            "more": stored + b"\0",
        }[kind]
        with pytest.raises(ValueError):
            if is_chunk:
                found = sealed.decode(sealed.CHUNK_MAGIC, space, id, damaged, CHUNK)
                assert space.id_of(found) != id  # which Space.get_chunk looks at
                raise ValueError
            manifest.decode(damaged, space, "b")


def test_a_sealed_store_tells_nothing_to_who_has_no_key(tmp_path: Path) -> None:
    """Another key and none are named as the reason; a chunk or manifest under another name is refused."""
    volume = make_volume(tmp_path / "v", [b"secret", b"other"])
    mine = vault(tmp_path, MASTER)
    space = mine.space(SPACE)
    back_up(space, volume, "one")
    mark = space.keys.mark.hex()
    for master, reason in ((None, "set backup_key_file"), (bytes(32), "another one")):
        with pytest.raises(errors.BackendUnavailable, match=reason):
            vault(tmp_path, master).space_of_backup(SPACE, mark)
    with pytest.raises(errors.BackupDamaged, match="sealed"):
        vault(tmp_path).space_of_backup(SPACE, "").get_manifest("one")
    first, second = sorted(space.get_manifest("one").ids())
    store = folder_store(tmp_path)
    store.put(space.chunk_name(first), store.get(space.chunk_name(second), MOST_CHUNK))
    store.put(space.manifest_name("two"), store.get(space.manifest_name("one"), manifest.MOST_BYTES))
    with pytest.raises(ValueError, match="seal is broken"):
        space.get_chunk(first)
    with pytest.raises(errors.BackupDamaged, match="seal is broken"):
        space.get_manifest("two")
    assert keys.SpaceKeys(MASTER, SPACE).id_of(b"x") != keys.SpaceKeys(MASTER, "6b" * 16).id_of(b"x")
    assert keys.SpaceKeys(MASTER, SPACE).id_of(b"x") != keys.SpaceKeys(None, SPACE).id_of(b"x")


def test_old_backups_in_the_clear_stay_readable_with_a_key(tmp_path: Path) -> None:
    """A key that is set later seals what is new; both kinds are in one space, and are swept together."""
    volume = make_volume(tmp_path / "v", [b"a"])
    back_up(vault(tmp_path).space(SPACE), volume, "old")
    mine = vault(tmp_path, MASTER)
    back_up(mine.space(SPACE), volume, "new")
    assert collect(mine.space(SPACE)).chunks == 0
    old = mine.space_of_backup(SPACE, "")
    assert restored(old, "old", tmp_path / "out") == volume.read_bytes()
    assert collect(old, old.remove_manifest("old")).chunks == 1
    assert verify(mine.space(SPACE), "new") == 1


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ("ab" * 32, 0o644, "others may read it"),
        ("ab" * 31, 0o600, "64 hexadecimal"),
        ("x" * 64, 0o600, "64 hexadecimal"),
    ],
)
def test_a_key_file_is_private_and_whole(tmp_path: Path, content: str, mode: int, reason: str) -> None:
    """Anything else is an error of the setting, which does not show the key."""
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(errors.ConfigError, match=reason) as raised:
        keys.load_key(file)
    assert content not in str(raised.value)
    file.write_text("AB" * 32 + "\n")
    file.chmod(0o600)
    assert keys.load_key(file) == b"\xab" * 32


def test_a_folder_that_is_not_mounted_is_not_an_empty_store(tmp_path: Path) -> None:
    """The store is known by its id; another folder, another store and foreign files are refused with the reason."""
    store = folder_store(tmp_path)
    id = store.check()
    assert folder_store(tmp_path).check() == id
    assert FolderStore(tmp_path / "store", tmp_path / "other-note").check() == id
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for make in (lambda: None, (tmp_path / "store").mkdir):
        make()
        with pytest.raises(errors.BackendUnavailable, match="is its file system mounted"):
            store.check()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "x").touch()
    with pytest.raises(errors.BackendUnavailable, match="has other files"):
        FolderStore(tmp_path / "foreign", tmp_path / "note-2").check()
    (tmp_path / "elsewhere" / "nbdsvc-backups.json").write_text(json.dumps({"format": 2, "id": id}))
    with pytest.raises(errors.BackendUnavailable, match="format 2"):
        FolderStore(tmp_path / "elsewhere", tmp_path / "note-3").check()


@pytest.mark.parametrize("kind", ["away", "full"])
@pytest.mark.parametrize(
    ("method", "part"), [("put", "chunks"), ("put", "manifests"), ("sync", ""), ("names", "chunks"), ("head", "")]
)
def test_a_store_that_is_away_or_full_ends_the_backup(tmp_path: Path, kind: str, method: str, part: str) -> None:
    """There is no backup then; once the store is back the next try finds what is there already."""
    store = FaultyStore(folder_store(tmp_path))
    space, volume = vault(tmp_path, store=store).space(SPACE), make_volume(tmp_path / "v", [b"a", b"b", b"c"])
    store.faults = [Fault(method, kind, part, skip=1 if part == "chunks" and method == "put" else 0)]
    with pytest.raises((errors.BackendUnavailable, errors.OutOfSpace)):
        back_up(space, volume, "one", threads=1)
    assert files(tmp_path, "manifests/*") == set()
    assert files(tmp_path, "sessions/*") == {"one"}
    stored = len(files(tmp_path, "chunks/*/*"))
    store.faults = []
    assert back_up(space, volume, "one").new == 3 - stored
    assert restored(space, "one", tmp_path / "out") == volume.read_bytes()


def test_a_store_that_loses_what_it_took(tmp_path: Path) -> None:
    """Lost once, a chunk is stored again; lost again and again, there is no backup. Changed bytes are found by reading."""
    store = FaultyStore(folder_store(tmp_path))
    space, volume = vault(tmp_path, store=store).space(SPACE), make_volume(tmp_path / "v", [b"a", b"b", b"c"])
    store.faults = [Fault("put", "lost", "chunks", times=2)]
    back_up(space, volume, "one")
    assert verify(space, "one") == 3
    volume = make_volume(tmp_path / "v", [b"d"])
    store.faults = [Fault("put", "lost", "chunks")]
    with pytest.raises(errors.BackupDamaged, match="does not keep"):
        back_up(space, volume, "two")
    for kind in ("flipped", "short", "lost"):
        store.faults = [Fault("put", kind, "manifests", times=1)]
        with pytest.raises((errors.BackupDamaged, Missing)):
            back_up(space, volume, "two")
        space.remove_manifest("two")
    for content, kind in ((b"e", "flipped"), (b"f", "short")):
        store.faults = [Fault("put", kind, "chunks", times=1)]
        back_up(space, make_volume(tmp_path / "v", [content]), kind)
        with pytest.raises(errors.BackupDamaged, match="chunk"):
            verify(space, kind)
    # A chunk that is too short is stored again by the next full backup that needs it.
    back_up(space, make_volume(tmp_path / "v", [b"f"]), "again")
    assert verify(space, "short") == verify(space, "again") == 1


def test_a_chunk_that_is_gone_is_found_before_a_restore(tmp_path: Path) -> None:
    """Nothing is written then."""
    space, volume = vault(tmp_path).space(SPACE), make_volume(tmp_path / "v", [b"a", b"b"])
    back_up(space, volume, "one")
    folder_store(tmp_path).remove(space.chunk_name(next(iter(space.get_manifest("one").ids()))))
    with pytest.raises(errors.BackupDamaged, match="lacks 1 of its chunks"):
        Reader(space, space.get_manifest("one")).check_present()


def test_a_backup_is_stopped_within_a_moment(tmp_path: Path) -> None:
    """By should_stop; nothing claims to be a backup."""
    space, volume = vault(tmp_path).space(SPACE), make_volume(tmp_path / "v", [b"%d" % i for i in range(8)])
    with sources.open_path(volume) as source, pytest.raises(Stopped):
        Writer(space, source).write("one", {}, should_stop=lambda: True)
    assert files(tmp_path, "manifests/*") == set()


def test_a_read_error_ends_the_backup(tmp_path: Path) -> None:
    """A volume that becomes shorter while it is read is no volume of zeros."""
    space, volume = vault(tmp_path).space(SPACE), make_volume(tmp_path / "v", [b"a", b"b"])
    with sources.open_path(volume) as source:
        os.truncate(volume, CHUNK)
        with pytest.raises(errors.ReadFailed):
            Writer(space, source).write("one", {})
    assert files(tmp_path, "manifests/*") == set()


def test_what_killed_writers_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    """Parts of files stay for a day, by the clock of the store."""
    space, volume = vault(tmp_path).space(SPACE), make_volume(tmp_path / "v", [b"a"])
    back_up(space, volume, "one")
    folder = next((tmp_path / "store" / "spaces" / SPACE / "chunks").iterdir())
    for name, age in ((".old.part", 2 * 86400), (".new.part", 60)):
        (folder / name).touch()
        moment = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (moment, moment))
    (folder / "not ours").touch()
    collect(space)
    assert sorted(path.name for path in folder.glob(".*")) == [".new.part"]
    assert (folder / "not ours").exists()
    left = tmp_path / "store" / "spaces" / SPACE / "manifests" / ".old.part"
    left.touch()
    os.utime(left, (moment - 2 * 86400, moment - 2 * 86400))
    collect(space)
    assert not left.exists()


def test_a_store_that_is_full_can_be_emptied(tmp_path: Path) -> None:
    """Beside no writer, nothing has to be stored to free what no backup needs; beside one, nothing is lost."""
    store = FaultyStore(folder_store(tmp_path))
    space = vault(tmp_path, store=store).space(SPACE)
    back_up(space, make_volume(tmp_path / "v", [b"a", b"b"]), "one")
    back_up(space, make_volume(tmp_path / "v", [b"b", b"c"]), "two")
    space.begin_session("writes", {})
    store.faults = [Fault("put", "full")]
    with pytest.raises(errors.OutOfSpace):
        collect(space, space.remove_manifest("one"))
    assert verify(space, "two") == 2
    space.end_session("writes")
    assert collect(space).chunks == 1
    assert len(files(tmp_path, "chunks/*/*")) == verify(space, "two") == 2
    assert list((tmp_path / "store" / "spaces" / SPACE / "trash").glob("*")) == []


def test_a_damaged_manifest_keeps_everything(tmp_path: Path) -> None:
    """It is not known what it needs, so nothing of its project is freed until it is deleted."""
    space, volume = vault(tmp_path).space(SPACE), make_volume(tmp_path / "v", [b"a", b"b"])
    back_up(space, volume, "one")
    back_up(space, make_volume(tmp_path / "v", [b"c"]), "two")
    store = folder_store(tmp_path)
    store.put(space.manifest_name("two"), b"damaged")
    with pytest.raises(errors.BackupDamaged, match="nothing of its project is freed"):
        collect(space, space.remove_manifest("one"))
    assert len(files(tmp_path, "chunks/*/*")) == 3
    assert space.remove_manifest("two") is None
    assert collect(space).chunks == 3


def test_a_store_that_is_not_mounted_for_a_moment_is_no_empty_one(tmp_path: Path) -> None:
    """Who lists what backups need gets an error, never that there are none."""
    store = folder_store(tmp_path)
    store.check()
    space = vault(tmp_path, store=store).space(SPACE)
    back_up(space, make_volume(tmp_path / "v", [b"a"]), "one")
    away = (tmp_path / "store").rename(tmp_path / "elsewhere")
    for exists in (False, True):
        if exists:
            (tmp_path / "store").mkdir()  # the mount point
        with pytest.raises(errors.BackendUnavailable, match="is its file system mounted"):
            space.needed()
        with pytest.raises(errors.BackendUnavailable, match="is its file system mounted"):
            collect(space)
    (tmp_path / "store").rmdir()
    away.rename(tmp_path / "store")
    assert collect(space).chunks == 0
    assert verify(space, "one") == 1


def test_a_damaged_chunk_is_stored_anew(tmp_path: Path) -> None:
    """Once it was found, no new backup counts on it; the next full one makes the older one whole again, and the sweep removes
    what was damaged then, not before."""
    space = vault(tmp_path).space(SPACE)
    volume = make_volume(tmp_path / "v", [b"a", b"b"])
    back_up(space, volume, "one")
    chunk = sorted((tmp_path / "store").glob("spaces/*/chunks/*/*"))[0]
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    for _ in range(2):
        with pytest.raises(errors.BackupDamaged, match=chunk.name):
            verify(space, "one")
    collect(space)
    damaged = tmp_path / "store" / "spaces" / SPACE / "damaged"
    assert [path.name for path in damaged.iterdir()] == [chunk.name]
    back_up(space, volume, "two")
    assert verify(space, "two") == verify(space, "one") == 2
    collect(space)
    assert list(damaged.iterdir()) == []
    assert verify(space, "two") == verify(space, "one") == 2


def test_a_chunk_that_was_stored_anew_is_not_set_aside(tmp_path: Path) -> None:
    """Who has read the damaged one comes late: the good one is back at once."""
    space = vault(tmp_path).space(SPACE)
    back_up(space, make_volume(tmp_path / "v", [b"a"]), "one")
    (id,) = space.chunks()
    space.set_aside(id)
    assert verify(space, "one") == 1
    assert space.has_chunk(id)
