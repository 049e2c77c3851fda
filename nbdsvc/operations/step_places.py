"""Where the steps of an operation run."""

from typing import Any

from nbdsvc.model import names
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.operation_type import Run, Step


class StepPlaces:
    """here: where the operation is, whose engine has it in hand; own: where it was submitted for, and ends."""

    def __init__(self, operation: Operation, steps: tuple[Step[Any], ...]) -> None:
        self.here, self.own = operation.place, operation.own_place
        self._steps = steps

    @property
    def at_home(self) -> bool:
        """Whether it may end here, whichever backend its last step was for."""
        return self.here.host == self.own.host

    def of(self, run: Run[Any], index: int, cursor: int) -> Place:
        """The place of a step: of the one at the cursor, and of one with nothing to do, here."""
        step = self._steps[index]
        if index == cursor or (step.host is None and self.here == self.own) or not step.needed(run):
            return self.here
        return self._named(step.host(run)) if step.host else self.own

    def of_undo(self, run: Run[Any], index: int, cursor: int) -> Place:
        """The place of a step's undo; here where it has none."""
        return self.of(run, index, cursor) if self._steps[index].undo else self.here

    def _named(self, full_name: str) -> Place:
        host, backend, _pool = names.split_host(full_name)
        return Place(host, backend or (self.own.backend if host == self.own.host else ""))
