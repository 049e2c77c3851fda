"""How much work runs at once, how fast, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Work:
    """How much work runs at once, how fast, and for how long."""

    # How often an external program is tried (Cinder's num_shell_tries).
    num_shell_tries: int = 3
    # Copies that run at once, of one project and of all together; the others wait. Two keep a disk busy, more make each of
    # them slow. So that no project keeps another waiting, one that has no copy at work starts one all the same, and copies
    # that move less than 1 MiB a second (a limit of their own, a slow source) are not counted; 64 run at the very most.
    max_copies: int = 4
    # Operations of one project on one backend that have not ended; the next one is refused, unless it ends an attachment.
    max_operations: int = 1000
    # All copies of this host together: at most so many bytes a second, and so many cores; 0: no limit. A SIGHUP reads these
    # two anew, and copies that run go on by them. `nbdsvc operation limit` slows a single one.
    copy_rate: int = 0
    copy_cores: float = 0.0
    # Seconds between two looks at exports and pool statistics.
    repair_interval: float = 30.0
    # Seconds that a request waits for an attach or detach before it answers that the operation goes on.
    attach_timeout: float = 60.0
    # Seconds after which an operation is given up and undone; 0: never.
    operation_deadline: float = 0.0
    # Days for which an operation that ended can be looked up, and the messages that say why one failed.
    operations_kept: float = 30.0

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        yield Check(self.num_shell_tries < 1, "num_shell_tries", "must be at least 1")
        yield Check(self.operations_kept <= 0, "operations_kept", "must be more than 0")
        yield Check(not 1 <= self.max_copies <= 64, "max_copies", "must be 1 to 64")
        yield Check(self.max_operations < 1, "max_operations", "must be at least 1")
        yield Check(self.copy_rate < 0, "copy_rate", "must not be negative")
        yield Check(self.copy_cores < 0, "copy_cores", "must not be negative")
