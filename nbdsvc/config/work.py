"""How much work runs at once, how fast, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Work:
    """How much work runs at once, how fast, and for how long."""

    # How many times an external program is run before its failure is reported (Cinder's num_shell_tries).
    num_shell_tries: int = 3
    # The most copies that run at once, of one project and of all projects together; other copies wait. Two copies keep
    # a disk busy, and more make each other slow. So that no project keeps another waiting, a project without a running
    # copy may start one beyond this number, and copies that move less than 1 MiB a second (because of a limit of their
    # own or a slow source) are not counted; never more than 64 copies run.
    max_copies: int = 4
    # The most unfinished operations of one project on one backend; a further operation is refused, unless it ends an
    # attachment.
    max_operations: int = 1000
    # The most bytes a second and the most processor cores that all copies of this host together may use; 0: no limit.
    # On SIGHUP the service reads these two again and applies them to running copies. `nbdsvc operation limit` slows one
    # copy.
    copy_rate: int = 0
    copy_cores: float = 0.0
    # Seconds between two repairs of exports and two reports of pool statistics.
    repair_interval: float = 30.0
    # Seconds that a request waits for the end of an attach or detach before it replies that the operation goes on.
    attach_timeout: float = 60.0
    # Seconds after which an unfinished operation is ended and undone; 0: never.
    operation_deadline: float = 0.0
    # Days for which ended operations, and the messages that name the reasons of failures, are kept.
    operations_kept: float = 30.0

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.num_shell_tries < 1, "num_shell_tries", "must be at least 1")
        yield Check(self.operations_kept <= 0, "operations_kept", "must be more than 0")
        yield Check(not 1 <= self.max_copies <= 64, "max_copies", "must be 1 to 64")
        yield Check(self.max_operations < 1, "max_operations", "must be at least 1")
        yield Check(self.copy_rate < 0, "copy_rate", "must not be negative")
        yield Check(self.copy_cores < 0, "copy_cores", "must not be negative")
