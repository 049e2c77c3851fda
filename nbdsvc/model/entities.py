"""The resources as frozen rows. A field's name is its column's name in store/tables.py."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbdsvc import errors
from nbdsvc.model import clock, names

# Extra spec of a type; its prefix keeps it from the scheduler, which would look for a capability of that name.
ZONES_SPEC = "RESKEY:availability_zones"


@dataclass(frozen=True)
class Volume:
    """A volume. `size` is GiB, as in the API. `target_size`: the size that a running extend requests, for the quotas.

    `host`, `backend`, `pool`: the place. `previous_status`: the status after the running operation, if it is restored.
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
    # Values of the volume's replica that the driver returned.
    replication_extended_status: str | None = None
    replication_driver_data: str | None = None
    attached_mode: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    group_id: str | None = None
    # The driver's own state of the volume: driver.ProviderState.
    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_host(self) -> str:
        """host@backend#pool, the form in which the API shows the place of a volume."""
        return names.join_host(self.host, self.backend, self.pool)


@dataclass(frozen=True)
class Move:
    """The second place of a volume that is migrated: its destination until the switch, its source from then on.

    The row exists as long as an object of the volume may be at that place, so that its capacity stays reserved. `id`:
    the volume's; `size`: GiB. `volume_type_id`: the volume's type at that place. `operation_id`: the migrating
    operation.
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
    group_snapshot_id: str | None = None
    # As of a volume.
    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Attachment:
    """One user of a volume. `status` is the API's attach_status.

    `connector`: the initiator's description of itself; `connection_info`: the reply to the initiator, without secrets.
    `protocol`: the transport of the export (nbd, iscsi), from the first connection on.
    `secret`: the export's pre-shared key, hexadecimal; never in a log or a repr, and in no API reply but that of a
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
    # The encryption of the type's volumes; None: no encryption. See types/encryption.py.
    encryption: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def multiattach(self) -> bool:
        """Whether the type allows several attachments at once (extra spec `multiattach: <is> True`)."""
        return self.extra_specs.get("multiattach", "").strip().lower() == "<is> true"

    @property
    def zones(self) -> list[str]:
        """The availability zones of the type's volumes (extra spec `RESKEY:availability_zones: a,b`); empty: all."""
        return [zone.strip() for zone in self.extra_specs.get(ZONES_SPEC, "").split(",") if zone.strip()]

    def check_zone(self, zone: str) -> None:
        """Raise InvalidInput for a zone in which the type has no volumes."""
        if self.zones and zone not in self.zones:
            reason = f"volumes of type {self.name} are in {', '.join(self.zones)} only"
            raise errors.InvalidInput(field="availability_zone", value=zone, reason=reason)


@dataclass(frozen=True)
class QosSpecs:
    """Limits for the volumes of the associated types. consumer: which side enforces them, see model/qos.py."""

    id: str
    name: str
    consumer: str
    specs: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Transfer:
    """An offer of a volume by its project to any holder of the key; the row has only the key's salted hash.

    `accepted`: `destination_project_id` has accepted the volume and the driver is notified; then the row is removed.
    `tries`: the wrong keys since the last correct one.
    """

    id: str
    # The owner of the volume until the transfer is accepted.
    project_id: str
    volume_id: str
    name: str | None
    salt: str = field(repr=False)
    key_hash: str = field(repr=False)
    # Whether the volume's snapshots stay with the old project.
    no_snapshots: bool = False
    destination_project_id: str | None = None
    accepted: bool = False
    tries: int = 0
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Backup:
    """A backup of a volume or snapshot. `size`: GiB of the volume when its data were read.

    `host`, `backend`: where it was made. `store_id`, `space`, `key_mark`: the store and the project's space in it that
    have its chunks, and the mark of the key that seals them (empty: they are not sealed). `parent_id`: the backup that
    an incremental one builds on; each is whole in itself, so the parent may be gone. `object_count`: chunks that are not
    zeros; `stored`: bytes that the backup added to the store.
    """

    id: str
    project_id: str
    user_id: str
    volume_id: str
    size: int
    status: str
    space: str
    snapshot_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    description: str | None = None
    container: str | None = None
    availability_zone: str | None = None
    host: str = ""
    backend: str = ""
    store_id: str | None = None
    key_mark: str = ""
    object_count: int = 0
    stored: int = 0
    fail_reason: str | None = None
    data_timestamp: datetime | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def is_incremental(self) -> bool:
        return self.parent_id is not None


@dataclass(frozen=True)
class StorageBackend:
    """A backend of a host as it last reported; the API's service `host@name`. Its pools are rows of their own.

    `updated_at` is the time of its last report; other changes of the row do not set it.
    """

    id: str
    host: str
    # The backend's name in host@backend#pool.
    name: str
    # The binary by which clients find the service.
    binary: str = "cinder-volume"
    availability_zone: str = "nova"
    # Set by an administrator: no new volumes are placed on the backend.
    disabled: bool = False
    disabled_reason: str | None = None
    frozen: bool = False
    # Whether the backend's driver works.
    working: bool = True
    replication_status: str = "disabled"
    active_backend_id: str | None = None
    # storage_protocol, instant_clone, instant_snapshot, description, filter_function, goodness_function, findings.
    capabilities: dict[str, Any] = field(default_factory=dict)
    # Name of the cluster whose hosts see its storage; empty: this host alone does.
    cluster: str = ""
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_name(self) -> str:
        """host@backend, as clients name a service."""
        return names.join_host(self.host, self.name)

    @property
    def cluster_name(self) -> str | None:
        """cluster@backend; None where it is in no cluster."""
        return names.join_host(self.cluster, self.name) if self.cluster else None


@dataclass(frozen=True)
class Cluster:
    """One storage that backends of one name on several hosts serve. `name`: cluster@backend.

    `driver`: the class that all of them have. `storage`: the identity of each pool's storage, by the pool's name.
    """

    id: str
    name: str
    driver: str
    storage: dict[str, str] = field(default_factory=dict)
    binary: str = "cinder-volume"
    # Set by an administrator: no new volumes are placed on any of its hosts.
    disabled: bool = False
    disabled_reason: str | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None
