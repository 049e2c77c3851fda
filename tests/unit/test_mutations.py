"""The bugs that the rig and the random walk plant fit the code as it is."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rig.machine import blind, record
from rig.machine.mutations import MUTATIONS, Mutation
from rig.machine.unhinted import UNHINTED

ROOT = Path(__file__).resolve().parents[2]


WITHOUT_HINTS = [*UNHINTED, *blind.FIRST, *blind.SECOND, *blind.HOSTS]


@pytest.mark.parametrize("mutation", [*MUTATIONS, *WITHOUT_HINTS], ids=lambda each: each.name)
def test_a_bug_can_be_planted(mutation: Mutation, tmp_path: Path) -> None:
    """Its piece is in the file exactly once, and the file with it compiles."""
    copy = tmp_path / mutation.path
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.path, copy)
    mutation.plant(tmp_path)
    if copy.suffix == ".c":
        subprocess.run(["gcc", "-fsyntax-only", "-std=gnu11", "-I", str(ROOT / "native"), str(copy)], check=True)
    else:
        compile(copy.read_text(), mutation.path, "exec")
    with pytest.raises(ValueError, match="0 times"):
        mutation.plant(tmp_path)


def test_no_hunt_has_a_hint_for_what_it_is_to_find_without() -> None:
    """Nothing is drawn more often for a bug of the list without hints."""
    assert [each.name for each in WITHOUT_HINTS if each.needs] == []


def test_what_a_bug_needs_is_an_action() -> None:
    """A hunt would draw nothing more often by a name that no action has."""
    assert {name for each in MUTATIONS for name in each.needs} <= set(record.ACTIONS)
