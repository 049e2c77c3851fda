"""The runner of external programs."""

import time
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.process import Runner, resolve


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
    """A complaint in no_retry is raised at once."""
    slept: list[float] = []
    with pytest.raises(errors.CommandFailed):
        Runner(3, slept.append).run(["sh", "-c", "echo no such volume >&2; exit 5"], no_retry=["no such volume"])
    assert slept == []


def test_timeout_and_cancel_end_the_whole_group(tmp_path: Path) -> None:
    """A program's children end with it, by deadline or by cancel."""
    for given in ({"timeout": 0.3}, {"should_stop": lambda: True}):
        began = time.monotonic()
        with pytest.raises(errors.CommandFailed, match="no end within|cancelled"):
            Runner(1).run(["sh", "-c", f"(sleep 3; touch {tmp_path}/late) & sleep 30"], **given)  # type: ignore[arg-type]
        assert time.monotonic() - began < 20
    time.sleep(3.2)
    assert not (tmp_path / "late").exists()


def test_a_missing_program_names_its_package() -> None:
    """What is not installed is said, with the Debian package where it is known."""
    with pytest.raises(errors.BackendUnavailable, match="program no-such-thing is not installed"):
        resolve("no-such-thing")
