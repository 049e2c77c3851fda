"""The tables of model/states.py are closed: every status they name is one, and none in flight is a dead end."""

import pytest

from nbdsvc.model import states

TABLES = [
    (states.VOLUME, states.VOLUME_STATUSES, states.VOLUME_IN_FLIGHT),
    (states.SNAPSHOT, states.SNAPSHOT_STATUSES, states.SNAPSHOT_IN_FLIGHT),
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


def test_resting_status_follows_attachments() -> None:
    """A volume rests in-use with attachments and available without."""
    assert (states.resting(1), states.resting(0)) == ("in-use", "available")
