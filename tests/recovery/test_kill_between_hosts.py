"""Migration and retype between two hosts, either of whose processes is killed by SIGKILL at every boundary of a step or undo,
and in the middle of the copy.

By default a few of the cases; all with NBDSVC_TEST_KILLS=all (`make test-kills`).
"""

import time
from collections.abc import Callable

import pytest
from between import Between
from kill_between import cases, chosen, run_case
from postgres import Postgres
from serving import ServiceProcess

from nbdsvc.exports.nbd import processes

GROUPS = 2


@pytest.fixture(scope="module")
def between(module_service: Callable[..., ServiceProcess], postgres: Postgres) -> Between:
    """A process that dies and starts again does not count as gone, however loaded this machine is."""
    return Between(module_service, postgres.database(), claim_seconds=20.0)


@pytest.mark.row("S021", "S033", "S034", "S085")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("group", range(GROUPS))
def test_killed_while_a_volume_goes_to_another_host(between: Between, group: int) -> None:
    """Whichever side dies, and wherever: the volume is whole on one host, nothing is on the other, and room is promised once."""
    all_cases = cases()
    some = chosen(all_cases, group, GROUPS)
    for case in some:
        run_case(between, case)
    print(f"{len(some)} of {len(all_cases)} kill points")


@pytest.mark.row("S021", "S033")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["source", "destination", "export", "destination and export"])
def test_killed_in_the_middle_of_the_copy(between: Between, victim: str) -> None:
    """The copy goes on, whichever process dies, the server of the export too."""
    id = between.written()
    between.copy_slowly(id)
    if victim == "source":
        between.a.kill()
        between.a.start()
    if "export" in victim:
        processes.end(between.b.state / "exports", str(between.operation()["id"]))
    if "destination" in victim:
        between.b.kill()
        time.sleep(1.0)
        between.b.start()
    between.client.act("operations", between.operation()["id"], "limit", {"rate": 0})
    ended = between.ended()
    assert ended["state"] == "succeeded", ended
    between.assert_settled(id, "b", "success", victim)
    between.remove(id)
