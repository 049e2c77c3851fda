"""The part of a list that a client requests: filters, sort order, page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """A condition on a column: its value equals `value`, or contains `value` if `partial`."""

    # The name of a column, or of a condition that the list defines.
    name: str
    # The value as the client wrote it.
    value: str
    partial: bool = False


@dataclass(frozen=True)
class Page:
    """A page of a list: the sort order, and which rows of the list it has."""

    # The most rows; None: all.
    limit: int | None = None
    # The number of rows to skip behind the marker.
    offset: int = 0
    # The id of the last row of the page before.
    marker: str | None = None
    # (column, descending), the most significant first.
    sort: tuple[tuple[str, bool], ...] = (("created_at", True), ("id", True))
    # The project whose rows may be the marker; None: every project's.
    marker_project: str | None = None
