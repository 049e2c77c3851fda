"""Storage that several hosts see: by its identity the service finds out whether theirs is the same."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class SharedStorageDriver(Protocol):
    """A driver whose pools several hosts may serve at once, each its own volumes of them.

    It keeps nothing of the pools in the memory of its process, and its calls for one object disturb none for another one,
    whichever host makes them.
    """

    def storage_identities(self) -> Mapping[str, str]:
        """The identity of each pool's storage, by the pool's name: the same on every host that sees it, and no other
        storage's. Called after do_setup; a pool that is away is left out.

        Raises Unsupported, with the reason, where this backend's storage cannot be shared.
        """
