"""Volume actions that change a status and nothing else: os-reserve, os-unreserve, os-begin_detaching, os-roll_detaching."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.store import repositories, transitions


def reserve_volume(app: App, context: Context, id: str) -> None:
    """available -> attaching; of a multiattach volume also in-use -> attaching. Errors: NotFound, InvalidState."""
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        rule = states.VOLUME["reserve multiattach" if volume.multiattach else "reserve"]
        repositories.volumes.transition(conn, id, rule.sources, "attaching", action="be reserved")


def unreserve_volume(app: App, context: Context, id: str) -> None:
    """attaching -> available or in-use; from any other status silently nothing, as Cinder does it. NotFound."""
    with app.change() as conn:
        repositories.volumes.get_for_update(conn, id, owner_scope(context))
        transitions.finish_volume(conn, id, "attaching", states.PREVIOUS)


def begin_detaching(app: App, context: Context, id: str) -> None:
    """in-use -> detaching. Errors: NotFound, InvalidState."""
    rule = states.VOLUME["begin detaching"]
    with app.change() as conn:
        repositories.volumes.get_for_update(conn, id, owner_scope(context))
        repositories.volumes.transition(conn, id, rule.sources, "detaching", action="begin detaching")


def roll_detaching(app: App, context: Context, id: str) -> None:
    """detaching -> in-use; from any other status silently nothing. NotFound."""
    with app.change() as conn:
        repositories.volumes.get_for_update(conn, id, owner_scope(context))
        transitions.finish_volume(conn, id, "detaching", "in-use")
