"""The tables of model/states.py are closed: every status they name is one, and none in flight is a dead end."""

import pytest

from nbdsvc.model import states

TABLES = [
    (states.VOLUME, states.VOLUME_STATUSES, states.VOLUME_IN_FLIGHT),
    (states.SNAPSHOT, states.SNAPSHOT_STATUSES, states.SNAPSHOT_IN_FLIGHT),
    (states.GROUP, states.GROUP_STATUSES, states.GROUP_IN_FLIGHT),
    (states.GROUP_SNAPSHOT, states.GROUP_SNAPSHOT_STATUSES, states.GROUP_SNAPSHOT_IN_FLIGHT),
    (states.GROUP_REPLICATION, states.GROUP_REPLICATION_STATUSES, states.GROUP_REPLICATION_IN_FLIGHT),
    (states.REPLICATION, states.SERVICE_REPLICATION_STATUSES, states.SERVICE_REPLICATION_IN_FLIGHT),
    (states.ATTACHMENT, states.ATTACHMENT_STATUSES, states.ATTACHMENT_IN_FLIGHT),
]


@pytest.mark.parametrize(("table", "statuses", "in_flight"), TABLES)
def test_tables_name_only_statuses(
    table: dict[str, states.Transition], statuses: frozenset[str], in_flight: frozenset[str]
) -> None:
    """Sources, statuses meanwhile and ends are statuses of the noun."""
    special = {states.NEW, states.PREVIOUS, None}
    for transition in table.values():
        named = transition.sources | {transition.during, transition.done, transition.failed}
        assert named - special <= statuses, transition.verb
        assert transition.during is None or transition.during in in_flight
    assert in_flight <= statuses


@pytest.mark.parametrize(("table", "statuses", "in_flight"), TABLES)
def test_no_status_in_flight_is_a_dead_end(
    table: dict[str, states.Transition], statuses: frozenset[str], in_flight: frozenset[str]
) -> None:
    """Each status in flight is the one meanwhile of a transition, which has a way out when it fails."""
    deleting = {transition.during for transition in table.values() if transition.failed is not None}
    assert in_flight - deleting == set()
