"""Read group snapshots: one, or a page of a project's."""

from functools import partial

from nbdsvc.app import App, owner_scope
from nbdsvc.groups.listing import list_page
from nbdsvc.model.context import Context
from nbdsvc.model.groups import GroupSnapshot
from nbdsvc.store import groups


def get_group_snapshot(app: App, context: Context, id: str) -> GroupSnapshot:
    """The group snapshot; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return groups.group_snapshots.get(conn, id, owner_scope(context))


list_group_snapshots = partial(list_page, groups.group_snapshots)
"""A page of the project's group snapshots; its other arguments and errors: `list_page`."""
