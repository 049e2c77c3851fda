"""The protocol of drivers that are notified of a freeze (S087).

The service itself refuses requests that would change a frozen backend; a driver implements the protocol only when its
backend also has something to do.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class FreezeDriver(Protocol):
    """A driver whose backend has something to do when an administrator freezes or thaws it.

    Volumes of a frozen backend are attached, read and written as before. Both methods are idempotent, and either may be
    called first.
    """

    def freeze_backend(self) -> bool:
        """From now on no object of the backend is made or changed. False or an error: the driver failed; the service
        freezes the backend all the same.
        """

    def thaw_backend(self) -> bool:
        """End the freeze. False or an error: the driver failed, and the backend stays frozen."""
