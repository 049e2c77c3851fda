"""Modules that are loaded late: the tables of them are whole, and none is loaded from a package that was replaced meanwhile."""

import shutil
import sys
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.late_modules import LateModules
from nbdsvc.operation_types import EPHEMERAL, MODULES, OperationTypes


def test_every_type_is_in_the_module_that_the_table_names() -> None:
    """By its name, each once, and those without a future are listed."""
    types = OperationTypes()
    assert {name: types[name].name for name in MODULES} == {name: name for name in MODULES}
    assert [each for each in types if types[each].ephemeral] == sorted(EPHEMERAL, key=list(MODULES).index)
    assert types.get("volume.paint") is None
    assert len(types) == len(MODULES)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules, which tell when they are loaded."""
    folder = tmp_path / "painter"
    (folder / "brushes").mkdir(parents=True)
    for path in (folder / "__init__.py", folder / "colours.py", folder / "brushes" / "__init__.py"):
        path.write_text("VERSION = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("painter", "painter.colours", "painter.brushes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def _replace(file: Path, content: str) -> None:
    """As an installation does: a new file in the place of the old one, though its time may be the same."""
    new = file.with_suffix(".new")
    new.write_text(content)
    shutil.copystat(file, new)
    new.replace(file)


@pytest.mark.parametrize(("name", "file"), [("colours", "colours.py"), ("brushes", "brushes/__init__.py")])
def test_a_module_that_was_replaced_is_not_loaded(package: Path, name: str, file: str) -> None:
    """Also where its time and its length are the same; one that was loaded before stays."""
    modules = LateModules(["painter.colours", "painter.brushes"], package.parent)
    _replace(package / file, "VERSION = 2\n")
    with pytest.raises(errors.Replaced, match="restart the service"):
        modules.load(f"painter.{name}")
    assert f"painter.{name}" not in sys.modules
    other = ({"colours", "brushes"} - {name}).pop()
    loaded = modules.load(f"painter.{other}")
    assert loaded.VERSION == 1
    _replace(package / ("colours.py" if other == "colours" else "brushes/__init__.py"), "VERSION = 2\n")
    assert modules.load(f"painter.{other}") is loaded
    shutil.rmtree(package)
    with pytest.raises(errors.Replaced):
        modules.load(f"painter.{name}")
