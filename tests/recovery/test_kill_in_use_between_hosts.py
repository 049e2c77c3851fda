"""The migration of a volume in use to another host, either of whose processes is killed by SIGKILL at every boundary of a step
or undo, while its client writes.

By default a few of the cases; all with NBDSVC_TEST_KILLS=all (`make test-kills`).
"""

from collections.abc import Callable, Iterator

import pytest
from between import Between
from following import Followed
from kill_in_use_between import few, in_use_cases, run_in_use_case
from postgres import Postgres
from serving import ServiceProcess

GROUPS = 2


@pytest.fixture(scope="module")
def between(module_service: Callable[..., ServiceProcess], postgres: Postgres) -> Iterator[Between]:
    """A process that dies and starts again does not count as gone, however loaded this machine is."""
    yield Between(module_service, postgres.database(), claim_seconds=20.0)
    Followed.stop_all()


@pytest.mark.row("S021", "S033", "S034", "S085")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("group", range(GROUPS))
def test_killed_while_a_volume_in_use_goes_to_another_host(
    between: Between, tmp_path_factory: pytest.TempPathFactory, group: int
) -> None:
    """Whichever side dies, and wherever: the client sees no error, and what it was answered is at the one place that is left."""
    all_cases = in_use_cases()
    some = few(all_cases)[group::GROUPS]
    worst = [(run_in_use_case(between, tmp_path_factory.mktemp("k"), case), str(case)) for case in some]
    print(f"{len(some)} of {len(all_cases)} kill points; worst request {max(worst)[0]:.1f} s, {max(worst)[1]}")
