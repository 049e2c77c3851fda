"""The clock of rows, which is the database's: how it is measured."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.model import clock
from nbdsvc.store.database import Database

seconds = st.floats(-1e9, 1e9)


@given(st.none() | seconds, seconds, st.floats(0, 10))
def test_a_measurement_moves_the_clock_no_further_than_it_has_to(
    known: float | None, least: float, width: float
) -> None:
    """What is known stays where the measurement allows it; else the nearest value that it allows is taken."""
    most = least + width
    found = clock.nearest(known, least, most)
    assert least <= found <= most
    if known is not None:
        assert abs(found - known) == max(least - known, known - most, 0)


def test_rows_have_the_time_of_their_database(database: Database) -> None:
    """The time of day of either kind's, once it was read."""
    database.follow_clock()
    assert abs(datetime.now(UTC).replace(tzinfo=None) - clock.now()) < timedelta(minutes=1)
