"""Processes of the version before and of this one, side by side on one PostgreSQL, exchanged one at a time under load."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import aftermath
import older
import pytest
from fleet import Fleet
from load_on import busy, loaded
from postgres import Postgres
from serving import HERE

from nbdsvc.operation_types import TYPES_BY_NAME

# In the suite one order, in which an API is ahead of its hosts and a host of its APIs. NBDSVC_ORDERS=all: each of them.
ORDERS = {
    "mixed": "api1 h1 h2 api2 h3",
    "hosts first": "h1 h2 h3 api1 api2",
    "APIs first": "api2 api1 h3 h2 h1",
}
CHOSEN = list(ORDERS) if os.environ.get("NBDSVC_ORDERS") == "all" else ["mixed"]
_ARGUMENTS = """
import dataclasses, json, nbdsvc.service as service
fields = lambda args: [field.name for field in dataclasses.fields(args)] if dataclasses.is_dataclass(args) else None
print(json.dumps({each.name: fields(each.args) for each in service.OPERATION_TYPES}))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    return older.built(older.BEFORE_ROLLING, tmp_path_factory.mktemp("older")).tree


def test_a_host_of_the_version_before_reads_what_this_one_submits(before: Path) -> None:
    """No argument of an operation is gone, and one that is new is written only where it is set: an older host refuses an
    operation with an argument that it does not know."""
    argv = [sys.executable, "-c", _ARGUMENTS]
    environment = {**os.environ, "PYTHONPATH": str(before)}
    printed = subprocess.run(argv, env=environment, cwd=before, check=True, capture_output=True, text=True).stdout
    types = {each.name: each.args for each in TYPES_BY_NAME.values()}
    for kind, known in json.loads(printed).items():
        if known is None or not dataclasses.is_dataclass(types[kind]):
            continue
        now = {field.name: field for field in dataclasses.fields(types[kind])}
        assert set(known) <= set(now), (kind, "gone", set(known) - set(now))
        always = {name for name, field in now.items() if name not in known and not field.metadata.get("if_set")}
        assert not always, (kind, "always written", always)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("order", CHOSEN)
def test_each_process_is_upgraded_by_itself(before: Path, postgres: Postgres, short_folder: Path, order: str) -> None:
    """Hosts and API processes of both versions serve the same database: nothing is lost, done twice, stuck or failed."""
    fleet = Fleet(short_folder, postgres.database())
    for member in fleet.members.values():
        member.tree = before
    try:
        fleet.start()
        with loaded(fleet) as owners:
            for number, name in enumerate(ORDERS[order].split()):
                busy(owners, 4)
                member = fleet.members[name]
                (member.stop, member.kill)[number % 2]()
                member.tree = HERE.parents[1]
                member.start()
            busy(owners, 6)
        print(f"{order}:", aftermath.check(fleet, owners))
        fleet.check_alive()
    finally:
        fleet.stop()
