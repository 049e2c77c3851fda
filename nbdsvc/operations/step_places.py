"""Where the steps of an operation run."""

from typing import Any

from nbdsvc.model import names
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.operation_type import Run, Step


class StepPlaces:
    """The places of an operation's steps. here: its present place; own: the place where it begins and ends."""

    def __init__(self, operation: Operation, steps: tuple[Step[Any], ...]) -> None:
        self.here, self.own = operation.place, operation.own_place
        self._steps = steps

    @property
    def at_home(self) -> bool:
        """Whether the operation is on its own host and may end here, on whichever backend its last step was."""
        return self.here.host == self.own.host

    def of(self, run: Run[Any], index: int, cursor: int) -> Place:
        """The place of a step; `here` for the step at the cursor, and for one with nothing to do."""
        step = self._steps[index]
        if index == cursor or (step.host is None and self.here == self.own) or not step.needed(run):
            return self.here
        return self._named(step.host(run)) if step.host else self.own

    def of_undo(self, run: Run[Any], index: int, cursor: int) -> Place:
        """The place of a step's undo; `here` without an undo."""
        return self.of(run, index, cursor) if self._steps[index].undo else self.here

    def _named(self, full_name: str) -> Place:
        host, backend, _pool = names.split_host(full_name)
        return Place(host, backend or (self.own.backend if host == self.own.host else ""))
