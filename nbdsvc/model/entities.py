"""The resources as frozen rows. A field's name is its column's name in store/tables.py."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbdsvc.model import clock, names


@dataclass(frozen=True)
class Volume:
    """A volume. `size` is GiB, as in the API. `target_size`: what an extend in flight asks for, so that quotas count it.

    `host`, `backend`, `pool`: where it is. `previous_status` is set while an operation that ends in it is under way.
    """

    id: str
    project_id: str
    user_id: str
    size: int
    status: str
    host: str
    backend: str
    pool: str
    name: str | None = None
    description: str | None = None
    availability_zone: str = "nova"
    volume_type_id: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    bootable: bool = False
    multiattach: bool = False
    readonly: bool | None = None
    target_size: int | None = None
    previous_status: str | None = None
    migration_status: str | None = None
    replication_status: str | None = None
    # As the driver says them of the volume's replica.
    replication_extended_status: str | None = None
    replication_driver_data: str | None = None
    attached_mode: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    # The driver's own state of the volume: driver.ProviderState.
    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_host(self) -> str:
        """host@backend#pool, as the API shows the place of a volume."""
        return names.join_host(self.host, self.backend, self.pool)


@dataclass(frozen=True)
class Move:
    """The second place of a volume that is migrated: its destination until the switch, its source from then on.

    It is there as long as something of the volume may be at that place, so that the room for it stays promised. `id` is the
    volume's, `size` GiB. `volume_type_id`: the type that the volume has there. `operation_id`: what moves it.
    """

    id: str
    operation_id: str
    size: int
    host: str
    backend: str
    pool: str
    volume_type_id: str | None
    switched: bool = False
    # As of a volume.
    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_host(self) -> str:
        """host@backend#pool."""
        return names.join_host(self.host, self.backend, self.pool)


@dataclass(frozen=True)
class Snapshot:
    """A point in time of a volume. `volume_size` is the volume's size in GiB when it was taken."""

    id: str
    project_id: str
    user_id: str
    volume_id: str
    volume_size: int
    status: str
    name: str | None = None
    description: str | None = None
    progress: str = "0%"
    metadata: dict[str, str] = field(default_factory=dict)
    # As of a volume.
    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Attachment:
    """One user of a volume. `status` is the API's attach_status.

    `connector`: the initiator's description as given; `connection_info`: what it was answered, without secrets.
    `protocol`: the transport that exports it (nbd, iscsi), from its first connection on.
    `secret`: the pre-shared key of its export, hexadecimal; never in a log, a repr or an API reply but the one of
    connection_info. `legacy`: made by the volume actions, not by the attachments API.
    """

    id: str
    volume_id: str
    project_id: str
    status: str
    instance_uuid: str | None = None
    attached_host: str | None = None
    mountpoint: str | None = None
    mode: str = "rw"
    connector: dict[str, Any] | None = None
    connection_info: dict[str, Any] | None = None
    protocol: str | None = None
    secret: str | None = field(default=None, repr=False)
    exported: bool = False
    legacy: bool = False
    attached_at: datetime | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class VolumeType:
    """A kind of volume that users choose; extra specs steer the backend. Private types list their projects."""

    id: str
    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: dict[str, str] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)
    qos_specs_id: str | None = None
    # How its volumes are to be encrypted; None: not at all. See types/encryption.py.
    encryption: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def multiattach(self) -> bool:
        """Whether the type allows several attachments at once (extra spec `multiattach: <is> True`)."""
        return self.extra_specs.get("multiattach", "").strip().lower() == "<is> true"


@dataclass(frozen=True)
class QosSpecs:
    """Limits of volumes, of the types that have them. consumer: who keeps to them, see model/qos.py."""

    id: str
    name: str
    consumer: str
    specs: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Transfer:
    """An offer of a volume by its project to whoever has the key, of which there is a salted hash only.

    `accepted`: by `destination_project_id`, while the driver is notified; the row goes when that is done. `tries`: keys given
    since the last right one.
    """

    id: str
    # Whose volume it is until it is accepted.
    project_id: str
    volume_id: str
    name: str | None
    salt: str = field(repr=False)
    key_hash: str = field(repr=False)
    # The snapshots of the volume stay with its project.
    no_snapshots: bool = False
    destination_project_id: str | None = None
    accepted: bool = False
    tries: int = 0
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class StorageBackend:
    """A backend of a host as it last reported; the API's service `host@name`. Its pools are rows of their own.

    `updated_at` is its last report, whatever else changes.
    """

    id: str
    host: str
    # Its name in host@backend#pool.
    name: str
    # The binary by which clients find the service.
    binary: str = "cinder-volume"
    availability_zone: str = "nova"
    # Set by an administrator: the backend takes no new volumes.
    disabled: bool = False
    disabled_reason: str | None = None
    frozen: bool = False
    # Whether its driver works.
    working: bool = True
    replication_status: str = "disabled"
    active_backend_id: str | None = None
    # storage_protocol, instant_clone, instant_snapshot, description, filter_function, goodness_function, findings.
    capabilities: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_name(self) -> str:
        """host@backend, as clients name a service."""
        return names.join_host(self.host, self.name)
