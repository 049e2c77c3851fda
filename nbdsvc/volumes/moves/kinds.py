"""The types of operations that move a volume: one within its host, and one that goes on at another host."""

from functools import partial
from typing import NamedTuple

from nbdsvc.model.locking import locks
from nbdsvc.operations.operation_type import OperationType, Step
from nbdsvc.volumes.moves import ends
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.steps import BETWEEN_HOSTS, STEPS


class Kinds(NamedTuple):
    """What one verb submits, by where the destination is. Two types, because a host of an older version knows the first."""

    within_host: OperationType[MoveArgs]
    between_hosts: OperationType[MoveArgs]


def kinds(name: str, during: str) -> Kinds:
    """during: the status of a volume that it locks."""
    succeed, fail = partial(ends.succeed, during=during), partial(ends.fail, during=during)

    def made(name: str, steps: tuple[Step[MoveArgs], ...]) -> OperationType[MoveArgs]:
        return OperationType(
            name, MoveArgs, steps, lambda args: locks(name, volume=args.volume_id), succeed, fail, modifies=True
        )

    return Kinds(made(name, STEPS), made(f"{name}_between_hosts", BETWEEN_HOSTS))
