"""Objects of a pool: as the service lists them, and as a client sees them that may manage them."""

from dataclasses import dataclass

from nbdsvc.driver.state import ProviderState


@dataclass(frozen=True)
class BackendObject:
    """One object in a pool. kind: volume, snapshot or other; id: None for an object that is not ours.

    `fault`: why its bytes are lost for good; empty where they are not. `origin`: of a snapshot, its volume's id; None
    where the pool does not tell.
    """

    kind: str
    id: str | None
    owner: str | None
    name: str
    size: int
    # Name of the pool that holds the object.
    pool: str
    fault: str = ""
    origin: str | None = None
    state: ProviderState | None = None
    """What the driver returned when it was made, for new rows where the database was lost."""


@dataclass(frozen=True)
class Manageable:
    """An object of the pool as a client sees it that wants to manage it. `reference`: what manage_existing takes.

    size: bytes. `reason`: why it cannot be taken over now; empty: it can. `id`: of the volume or snapshot that it has the
    name of. `source`: for a snapshot, the reference of its volume.
    """

    reference: dict[str, str]
    size: int
    # Name of the pool that holds the object.
    pool: str
    reason: str = ""
    id: str | None = None
    source: dict[str, str] | None = None
