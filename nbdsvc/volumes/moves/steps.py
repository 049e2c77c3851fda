"""The steps of a move, as the package's docstring explains them. Their names are in the journal and stay."""

from nbdsvc.operations.operation_type import Step
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.by_driver import move_back, move_by_driver
from nbdsvc.volumes.moves.create import create_destination, remove_destination
from nbdsvc.volumes.moves.fill import copy, undo_copy
from nbdsvc.volumes.moves.finish import finish, remove_source
from nbdsvc.volumes.moves.places import is_copied
from nbdsvc.volumes.moves.switch import switch

STEPS: tuple[Step[MoveArgs], ...] = (
    Step("move", move_by_driver, move_back),
    Step("create", create_destination, remove_destination, needed=is_copied),
    Step("copy", copy, undo_copy, copies=is_copied, needed=is_copied),
    Step("switch", switch, stoppable=False),
    Step("finish", finish, stoppable=False, needed=is_copied),
    Step("remove", remove_source, stoppable=False, needed=is_copied),
)
