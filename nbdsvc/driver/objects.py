"""Objects of a pool: as a driver lists them for the service, and for a client that may manage them."""

from dataclasses import dataclass

from nbdsvc.driver.state import ProviderState


@dataclass(frozen=True)
class BackendObject:
    """One object in a pool. kind: volume, snapshot or other; id: None for a foreign object; size: bytes.

    `fault`: why its bytes are lost for good; empty where they are not. `origin`: of a snapshot, its volume's id; None
    where the pool does not store it.
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
    """An object of the pool, for a client that may manage it. `reference`: the `ref` of manage_existing. size: bytes.

    `reason`: why the object cannot be managed now; empty where it can. `id`: of the volume or snapshot whose name the
    object has. `source`: for a snapshot, the reference of its volume.
    """

    reference: dict[str, str]
    size: int
    # Name of the pool that holds the object.
    pool: str
    reason: str = ""
    id: str | None = None
    source: dict[str, str] | None = None
