"""The steps of a move, within a host and between two, as the package's docstring explains them.

Their names and their order are in the journal and stay.
"""

from nbdsvc.operations.operation_type import Step, always
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.by_driver import move_back, move_by_driver
from nbdsvc.volumes.moves.create import create_destination, remove_destination
from nbdsvc.volumes.moves.fill import copy, undo_copy
from nbdsvc.volumes.moves.finish import finish, remove_source
from nbdsvc.volumes.moves.places import at_destination, at_source, is_copied
from nbdsvc.volumes.moves.send import send, undo_send
from nbdsvc.volumes.moves.serve import serve, undo_serve, unserve
from nbdsvc.volumes.moves.switch import switch

STEPS: tuple[Step[MoveArgs], ...] = (
    Step("move", move_by_driver, move_back),
    Step("create", create_destination, remove_destination, needed=is_copied),
    Step("copy", copy, undo_copy, copies=is_copied, needed=is_copied),
    Step("switch", switch, stoppable=False),
    Step("finish", finish, stoppable=False, needed=is_copied),
    Step("remove", remove_source, stoppable=False, needed=is_copied),
)

# A host that is gone is not awaited: what it has of the volume keeps its row, and is removed when it is back (left.py).
BETWEEN_HOSTS: tuple[Step[MoveArgs], ...] = (
    Step("create", create_destination, remove_destination, host=at_destination, awaited=False),
    Step("serve", serve, undo_serve, host=at_destination, awaited=False),
    Step("copy", send, undo_send, copies=always, host=at_source, awaited=False),
    Step("unserve", unserve, host=at_destination, awaited=False),
    Step("switch", switch, stoppable=False, host=at_destination),
    Step("finish", finish, stoppable=False, host=at_destination),
    Step("remove", remove_source, stoppable=False, host=at_source, awaited=False),
)
