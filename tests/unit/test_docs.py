"""What the documents name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["complaints", "security", "copying", "connection-info", "identity", "images"])
def test_the_pages_name_tests_that_exist(page: str) -> None:
    """Each test that is said to prove a line is a function of the suites."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / f"docs/{page}.md").read_text()))
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "rig/suite").glob("test_*.py")]
    defined = {name for path in files for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)}
    assert named
    assert named - defined == set()
