"""Differences that are planted by hand: each is named, and nothing else; what can be mended is, and nothing is lost by it."""

import os
import signal
import subprocess
import sys

import plants_of_backups  # noqa: F401 (registers its cases, as do the others)
import plants_of_exports  # noqa: F401
import plants_of_services
import plants_of_storage  # noqa: F401
import pytest
from planting import INITIATOR, planted
from plants import CASES, Plant
from waiting import wait_until

from nbdsvc.explain.diff import KINDS, OF_STORAGE, diff
from nbdsvc.explain.observe import observe
from nbdsvc.model import clock, names
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.units import GiB

# Kinds that separate tests plant: those below, and those in tests/unit/test_diff.py.
ELSEWHERE = {"volume.device_left", "pool.metadata_full", "pool.promised", "object.left_behind", "object.left", "object.kept", "host.unanswered",
             "lock.held", "operation.host_down", "host.take_over"}  # fmt: skip
FIXED = {kind.id for kind in KINDS if kind.fix}
IDS = [f"{kind} {plant.__name__}" for kind, plant in CASES]


@pytest.mark.parametrize(("kind", "plant"), CASES, ids=IDS)
def test_a_planted_difference_is_named_and_mended(kind: str, plant: Plant) -> None:
    """Among volumes that are well, one finding names it; what --fix mends is gone at the next look, and nothing else is."""
    with planted() as w:
        well = w.volume()
        w.attach(well)
        w.snapshot(w.volume())
        assert w.explain() == []
        id = plant(w)
        key = f"{kind} {id}"
        found = w.explain()
        assert [finding["key"] for finding in found] == [key], found
        assert any(each.partition("/")[0] in found[0]["message"] for each in (id, *found[0]["related"]))
        assert key in w.keys(found[0]["resource_id"].partition("#")[0])
        assert w.keys(well) == ([key] if set(found[0]["related"]) & {well} else w.keys(well))
        (mended,) = w.mend(key)
        assert (mended.error is None) == (kind in FIXED) == bool(found[0]["fix"]), mended
        assert w.keys() == ([] if kind in FIXED else [key])
        assert w.path(well).exists()


def test_every_kind_is_planted() -> None:
    """No kind of finding is without a difference that is planted by hand; there are more than thirty."""
    planted_kinds = {kind for kind, _ in CASES}
    assert planted_kinds | ELSEWHERE == {kind.id for kind in KINDS}
    assert len(CASES) >= 30


def test_an_operation_of_a_host_that_is_down_is_named() -> None:
    """It is named beside its host, and nothing is said of the volume that it has in hand."""
    with planted() as w:
        volume = w.volume()
        plants_of_services.backend_row(w, "far", "file", age=1e6)
        id = plants_of_services.operation(w, "far", volume)
        assert w.keys() == ["host.down far", f"operation.host_down {id}"]
        assert w.keys(volume) == [f"operation.host_down {id}"]


def test_an_object_of_a_volume_on_another_host_is_named() -> None:
    """What a volume left behind when it went to another host is a finding of the host that has it."""
    with planted() as w:
        id = w.volume()
        w.sql("UPDATE volumes SET host = 'far' WHERE id = ?", id)
        (found,) = diff(observe(w.host), OF_STORAGE)
        assert (found.kind, found.id) == ("object.left_behind", id)


def test_a_lock_that_a_program_holds_is_named_with_its_process() -> None:
    """The lock of a program that a killed service left at work is a finding that names the pid, and is not taken away."""
    with planted() as w:
        path = w.state / "locks" / names.new_id()
        path.touch()
        script = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as program:
            assert program.stdout
            assert program.stdout.readline() == b"held\n"
            (found,) = w.explain()
            assert found["key"] == f"lock.held {path.name}"
            assert f"process {program.pid} holds" in found["message"]
            assert w.mend(found["key"])[0].error
            assert path.exists()
            program.send_signal(signal.SIGKILL)
        wait_until(lambda: w.keys() == [f"lock.left {path.name}"], 10)


def test_what_an_operation_works_on_is_no_difference() -> None:
    """While a creation, a deletion and an upload are halted in the middle, nothing is found; nor is their files' lock."""
    with planted() as w:
        volume, extended = w.volume(), w.volume()
        w.attach(volume)
        with w.app.database.write() as conn:
            for resource, kind in ((volume, "volume.delete"), (extended, "volume.extend")):
                made = Operation(names.new_id(), kind, "elsewhere", "p1", "volume", resource, {}, [[resource, False]])
                journal.insert(conn, made)
        w.sql("UPDATE volumes SET status = 'deleting' WHERE id = ?", volume)
        w.path(volume).unlink()
        w.lio.targets.clear()
        w.sql("UPDATE volumes SET status = 'extending', target_size = 5 WHERE id = ?", extended)
        os.truncate(w.path(extended), 5 * GiB)
        (w.state / "locks" / extended).touch()
        assert w.keys() == []


def test_it_says_since_when_and_forgets_what_was_mended() -> None:
    """What no row dates is known since the first look that found it; a difference that comes again is dated anew."""
    with planted() as w:
        volume = w.volume()
        w.attach(volume)
        w.lio.logged_in[w.iqn(volume)] = frozenset()
        before = clock.now()
        first = w.explain()[0]
        assert before.isoformat() <= first["since"] <= clock.now().isoformat()
        assert w.explain()[0]["since"] == first["since"]
        assert "is attached to hyper1 by iSCSI, but no session of" in first["message"]
        assert f"known since {before:%Y-%m-%d %H:}" in first["message"]
        w.lio.logged_in[w.iqn(volume)] = frozenset({INITIATOR})
        assert w.explain() == []
        w.lio.logged_in[w.iqn(volume)] = frozenset()
        assert w.explain()[0]["since"] > first["since"]


def test_mending_loses_no_byte() -> None:
    """With everything planted that can be mended, all of it is mended, and every volume has its bytes."""
    with planted() as w:
        volumes = [w.volume() for _ in range(3)]
        for number, id in enumerate(volumes):
            with w.path(id).open("r+b") as file:
                file.write(bytes([number + 1]) * 4096)
        for kind, plant in CASES:
            if kind in FIXED:
                plant(w)
        keys = [finding["key"] for finding in w.explain() if finding["fix"]]
        assert len(keys) >= len(FIXED)
        assert {each.key for each in w.mend(*keys) if each.error} == set()
        assert [finding for finding in w.explain() if finding["severity"] != "note"] == []
        for number, id in enumerate(volumes):
            assert w.path(id).read_bytes()[:4097] == bytes([number + 1]) * 4096 + b"\0"


def test_what_came_right_meanwhile_is_not_mended() -> None:
    """A key of a finding that is not found any more, and one that no program mends, are answered, and change nothing."""
    with planted() as w:
        volume = w.volume()
        gone, never = w.mend(f"volume.stuck {volume}", f"volume.contradicted {volume}")
        assert (gone.error, never.error) == ("it is not found any more",) * 2
