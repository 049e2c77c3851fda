"""Counts volumes and operations, and the progress of unfinished ones, for /metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc.app import App
from nbdsvc.model import operation as model
from nbdsvc.store import tables


@dataclass(frozen=True)
class Statistics:
    """Counts of rows, and sums over the unfinished operations."""

    # Number of volumes by status.
    volumes: Mapping[str, int]
    # Number of operations by state.
    operations: Mapping[str, int]
    # Bytes copied.
    progress_done: int
    # Bytes to copy.
    progress_total: int
    # Bytes that were no holes.
    progress_data: int
    # Bytes a second.
    progress_rate: int


def statistics(app: App) -> Statistics:
    """The numbers as the rows are now."""
    columns = tables.operations.c
    sums = [columns.progress_done, columns.progress_total, columns.progress_data, columns.progress_rate]
    unfinished = sa.select(*(sa.func.sum(column) for column in sums)).where(columns.state.in_(sorted(model.UNFINISHED)))
    with app.database.read() as conn:
        done, total, data, rate = (int(found or 0) for found in conn.execute(unfinished).one())
        volumes, operations = _counts(conn, tables.volumes.c.status), _counts(conn, columns.state)
    return Statistics(volumes, operations, done, total, data, rate)


def _counts(conn: sa.Connection, column: "sa.Column[str]") -> dict[str, int]:
    query = sa.select(column, sa.func.count()).group_by(column)
    return {row[0]: row[1] for row in conn.execute(query)}
