"""Differences of groups and group snapshots: between the row and what works on it."""

from collections.abc import Iterator

from nbdsvc.explain.finding import ERROR, Case, Found
from nbdsvc.explain.view import View
from nbdsvc.model import states
from nbdsvc.model.groups import Group, GroupSnapshot


def _found(row: Group | GroupSnapshot, noun: str) -> Found:
    name = f" ({row.name})" if row.name else ""
    return Found(noun, row.id, {"name": name, "status": row.status}, row.updated_at or row.created_at)


def _stuck(view: View) -> Iterator[Found]:
    for row in view.facts.groups:
        if row.status in states.GROUP_IN_FLIGHT and view.idle(row.id):
            yield _found(row, "group")


def _snapshot_stuck(view: View) -> Iterator[Found]:
    for row in view.facts.group_snapshots:
        if row.status in states.GROUP_SNAPSHOT_IN_FLIGHT and view.idle(row.id):
            yield _found(row, "group_snapshot")


OF_STORAGE: tuple[Case, ...] = ()
_FIX = "give it the status that the operation's failure would have"

OF_ROWS = (
    Case("group.stuck", ERROR, "group {id}{name} is {status}, and no operation works on it",
         "give it the status of a failed operation (--fix), then delete it or try again", _stuck, fix=_FIX),
    Case("group_snapshot.stuck", ERROR, "group snapshot {id}{name} is {status}, and no operation works on it",
         "give it the status of a failed operation (--fix), then delete it or try again", _snapshot_stuck, fix=_FIX),
)  # fmt: skip
