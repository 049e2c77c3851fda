"""The protocol of being notified of a freeze (S087).

The service itself refuses what would change a frozen backend: this is for a backend that does something of its own.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class FreezeDriver(Protocol):
    """A driver whose backend does something of its own when an administrator freezes or thaws it.

    Volumes are attached, read and written as before. Both methods are idempotent, and either may come first.
    """

    def freeze_backend(self) -> bool:
        """Take note that nothing on the backend is to be made or changed. False, or an error: it could not; it is frozen
        all the same.
        """

    def thaw_backend(self) -> bool:
        """Return to normal. False, or an error: it could not, and the backend stays frozen."""
