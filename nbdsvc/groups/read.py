"""Read groups: one, a page of a project's, and the names and volumes shown with them."""

from collections.abc import Sequence
from functools import partial

from nbdsvc.app import App, owner_scope
from nbdsvc.groups.listing import list_page
from nbdsvc.model.context import Context
from nbdsvc.model.groups import Group
from nbdsvc.store import groups


def get_group(app: App, context: Context, id: str) -> Group:
    """The group; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return groups.groups.get(conn, id, owner_scope(context))


list_groups = partial(list_page, groups.groups)
"""A page of the project's groups; its other arguments and errors: `list_page`."""


def volumes_in(app: App, rows: Sequence[Group]) -> dict[str, list[str]]:
    """The ids of the volumes of each of these groups, by its id."""
    with app.database.read() as conn:
        return groups.volume_ids_of(conn, [row.id for row in rows])
