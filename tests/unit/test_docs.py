"""What the documents name exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_complaints_name_tests_that_exist() -> None:
    """Each test that is said to hold a complaint off is a function of the suites."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/complaints.md").read_text()))
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "rig/suite").glob("test_*.py")]
    defined = {name for path in files for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)}
    assert len(named) > 30
    assert named - defined == set()
