"""The runner of external programs."""

import contextlib
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.process import Runner, resolve
from tests.support.waiting import wait_until


@pytest.mark.row("S007")
def test_tries_and_sleeps_by_the_square(tmp_path: Path) -> None:
    """A program that fails twice succeeds at the third try, after 1 and 4 seconds; the last failure is raised."""
    slept: list[float] = []
    script = f"echo x >> {tmp_path}/count; [ $(wc -l < {tmp_path}/count) -ge 3 ]"
    Runner(3, slept.append).run(["sh", "-c", script])
    assert slept == [1, 4]
    with pytest.raises(errors.CommandFailed, match="nine") as caught:
        Runner(2, slept.append).run(["sh", "-c", "echo nine >&2; exit 9"])
    assert (caught.value.rc, slept) == (9, [1, 4, 1])


@pytest.mark.row("S007")
def test_a_final_complaint_ends_the_tries() -> None:
    """An error in no_retry is raised at once."""
    slept: list[float] = []
    with pytest.raises(errors.CommandFailed):
        Runner(3, slept.append).run(["sh", "-c", "echo no such volume >&2; exit 5"], no_retry=["no such volume"])
    assert slept == []


def test_timeout_and_cancel_end_the_whole_group(tmp_path: Path) -> None:
    """A program's children end with it, by deadline or by cancel."""
    noted = tmp_path / "group"
    for given in ({"timeout": 0.3}, {"should_stop": noted.exists}):
        noted.unlink(missing_ok=True)
        with pytest.raises(errors.CommandFailed, match="no end within|cancelled"):
            Runner(1).run(["sh", "-c", f"sleep 300 & echo $$ > {noted}; sleep 300"], **given)  # type: ignore[arg-type]
        # SIGKILL has been sent to all; a member may close its pipes a moment before it is a zombie.
        wait_until(lambda: not _running_in(noted.read_text().strip()))


def _running_in(group: str) -> list[str]:
    """The pids of a process group's members that run. Zombies wait for whoever inherits them; /proc/PID/stat: proc(5)."""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _parent, member_of = path.read_text().rpartition(")")[2].split()[:3]
            if member_of == group and state not in "ZX":
                running.append(path.parent.name)
    return running


def test_a_missing_program_names_its_package() -> None:
    """What is not installed is said, with the Debian package where it is known."""
    with pytest.raises(errors.BackendUnavailable, match="program no-such-thing is not installed"):
        resolve("no-such-thing")
