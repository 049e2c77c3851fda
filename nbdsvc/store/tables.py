"""The tables. Column names are the field names of model/entities.py and model/operation.py; repository.py relies on it."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

# JSON on SQLite, JSONB on PostgreSQL would order keys anew; plain JSON keeps them as given on both.
_ID = sa.String(36)
_NAME = sa.String(255)


def stamps() -> tuple["sa.Column[object]", "sa.Column[object]"]:
    """When a row was made, and when it was changed."""
    return sa.Column("created_at", sa.DateTime, nullable=False), sa.Column("updated_at", sa.DateTime)


def provider_state() -> "tuple[sa.Column[Any], ...]":
    """What a driver keeps of an object: the fields of driver.ProviderState."""
    return (
        sa.Column("provider_id", _NAME),
        sa.Column("provider_location", _NAME),
        sa.Column("driver_data", sa.JSON(none_as_null=True)),
    )


def second_place(*key: str) -> "list[sa.Column[Any]]":
    """The fields of model.entities.Move; `key`: those of the primary key."""
    columns: list[sa.Column[Any]] = [
        sa.Column("id", _ID, nullable=False),
        sa.Column("operation_id", _ID, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("backend", _NAME, nullable=False),
        sa.Column("pool", _NAME, nullable=False),
        sa.Column("volume_type_id", _ID),
        sa.Column("switched", sa.Boolean, nullable=False),
        *provider_state(),
        *stamps(),
    ]
    for column in columns:
        column.primary_key = column.name in key
    return columns


volumes = sa.Table(
    "volumes",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("backend", _NAME, nullable=False, server_default=""),
    sa.Column("pool", _NAME, nullable=False, server_default=""),
    sa.Column("name", _NAME),
    sa.Column("description", sa.Text),
    sa.Column("availability_zone", _NAME, nullable=False),
    sa.Column("volume_type_id", _ID),
    sa.Column("snapshot_id", _ID),
    sa.Column("source_volid", _ID),
    sa.Column("image_id", sa.Text),
    sa.Column("bootable", sa.Boolean, nullable=False),
    sa.Column("multiattach", sa.Boolean, nullable=False),
    sa.Column("readonly", sa.Boolean),
    sa.Column("target_size", sa.Integer),
    sa.Column("previous_status", sa.String(32)),
    sa.Column("migration_status", sa.String(64)),
    sa.Column("replication_status", sa.String(32)),
    sa.Column("replication_extended_status", sa.Text),
    sa.Column("replication_driver_data", sa.Text),
    sa.Column("attached_mode", sa.String(8)),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("image_metadata", sa.JSON, nullable=False),
    sa.Column("group_id", _ID, index=True),
    *provider_state(),
    *stamps(),
    sa.Index("volumes_by_project", "project_id", "created_at", "id"),
    sa.Index("volumes_by_status", "status"),
    # A covering index for the sum of a pool's sizes.
    sa.Index("volumes_by_pool", "host", "backend", "pool", "size", "target_size"),
)

# Second places of volumes that are migrated, see model/entities.py. A row may outlive its volume: what is there is removed.
moves = sa.Table(
    "moves",
    metadata,
    *second_place("id"),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("volume_id", _ID, sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("volume_size", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("name", _NAME),
    sa.Column("description", sa.Text),
    sa.Column("progress", sa.String(8), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("group_snapshot_id", _ID, index=True),
    *provider_state(),
    *stamps(),
    sa.Index("snapshots_by_project", "project_id", "created_at", "id"),
)

attachments = sa.Table(
    "attachments",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("volume_id", _ID, sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("instance_uuid", sa.String(64)),
    sa.Column("attached_host", _NAME),
    sa.Column("mountpoint", _NAME),
    sa.Column("mode", sa.String(8), nullable=False),
    sa.Column("connector", sa.JSON(none_as_null=True)),
    sa.Column("connection_info", sa.JSON(none_as_null=True)),
    sa.Column("protocol", sa.String(32)),
    sa.Column("secret", sa.String(128)),
    sa.Column("exported", sa.Boolean, nullable=False),
    sa.Column("legacy", sa.Boolean, nullable=False),
    sa.Column("attached_at", sa.DateTime),
    *stamps(),
    sa.Index("attachments_by_project", "project_id", "created_at", "id"),
)

# Offers of volumes to other projects, see model/entities.py.
transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("volume_id", _ID, nullable=False, index=True),
    sa.Column("name", _NAME),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False),
    sa.Column("no_snapshots", sa.Boolean, nullable=False),
    sa.Column("destination_project_id", _NAME),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    *stamps(),
    sa.Index("transfers_by_project", "project_id", "created_at", "id"),
)

volume_types = sa.Table(
    "volume_types",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("description", sa.Text),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
    sa.Column("projects", sa.JSON, nullable=False),
    sa.Column("qos_specs_id", _ID),
    sa.Column("encryption", sa.JSON(none_as_null=True)),
    *stamps(),
)

# Types of volumes whose requests name none, see types/defaults.py.
default_types = sa.Table(
    "default_types",
    metadata,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("volume_type_id", _ID, nullable=False, index=True),
)

qos_specs = sa.Table(
    "qos_specs",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("consumer", sa.String(16), nullable=False),
    sa.Column("specs", sa.JSON, nullable=False),
    *stamps(),
)

# What drivers keep of initiators, see store/initiator_data.py.
initiator_data = sa.Table(
    "initiator_data",
    metadata,
    sa.Column("initiator", _NAME, primary_key=True),
    sa.Column("namespace", _NAME, primary_key=True),
    sa.Column("key", _NAME, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# Limits only: what is used is counted from the rows themselves, so that it cannot drift from them.
quota_limits = sa.Table(
    "quota_limits",
    metadata,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("resource", _NAME, primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
)

# As quota_limits, of classes of projects: `default` is the class of all.
quota_classes = sa.Table(
    "quota_classes",
    metadata,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("resource", _NAME, primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
)

# Backends as their host reports them; the API's services.
backends = sa.Table(
    "backends",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("binary", _NAME, nullable=False),
    sa.Column("availability_zone", _NAME, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("frozen", sa.Boolean, nullable=False),
    sa.Column("working", sa.Boolean, nullable=False),
    sa.Column("replication_status", sa.String(32), nullable=False),
    sa.Column("active_backend_id", _NAME),
    sa.Column("capabilities", sa.JSON, nullable=False),
    sa.Column("cluster", _NAME, nullable=False, server_default=""),
    *stamps(),
    sa.UniqueConstraint("host", "name", name="backends_by_name"),
)

# Columns are the fields of driver.PoolStats, in bytes. measured: see store/promises.py; none in a report of an older version.
pools = sa.Table(
    "pools",
    metadata,
    sa.Column("backend_id", _ID, sa.ForeignKey("backends.id"), primary_key=True),
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("free", sa.BigInteger, nullable=False),
    sa.Column("provisioned", sa.BigInteger, nullable=False),
    sa.Column("allocated", sa.BigInteger, nullable=False),
    sa.Column("volumes", sa.Integer, nullable=False),
    sa.Column("reserved_percentage", sa.Integer, nullable=False),
    sa.Column("max_over_subscription_ratio", sa.Float, nullable=False),
    sa.Column("thin", sa.Boolean, nullable=False),
    sa.Column("metadata_percent", sa.Float),
    sa.Column("fault", sa.Text, nullable=False, server_default=""),
    sa.Column("measured", sa.BigInteger),
)

operations = sa.Table(
    "operations",
    metadata,
    # Order of submission: operations that want the same lock run in this order.
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("backend", _NAME, nullable=False, server_default=""),
    sa.Column("project_id", _NAME, nullable=False, index=True),
    sa.Column("resource_type", sa.String(32), nullable=False),
    sa.Column("resource_id", _ID, nullable=False, index=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("args", sa.JSON, nullable=False),
    sa.Column("locks", sa.JSON, nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("cursor", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("results", sa.JSON, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("rate", sa.BigInteger, nullable=False),
    sa.Column("deadline", sa.DateTime),
    sa.Column("progress_done", sa.BigInteger, nullable=False),
    sa.Column("progress_total", sa.BigInteger, nullable=False),
    sa.Column("progress_text", sa.Text, nullable=False),
    sa.Column("progress_data", sa.BigInteger, nullable=False),
    sa.Column("progress_rate", sa.BigInteger, nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("skipped", sa.JSON(none_as_null=True)),
    sa.Column("started_at", sa.DateTime),
    sa.Column("finished_at", sa.DateTime),
    # Where the operation is now: its own host and backend, unless a step runs elsewhere.
    sa.Column("step_host", _NAME, nullable=False, server_default=""),
    sa.Column("step_backend", _NAME, nullable=False, server_default=""),
    sa.Column("taken_up", sa.Boolean, nullable=False, server_default=sa.false()),
    *stamps(),
    sa.Index("operations_by_state_and_place", "state", "step_host", "sequence"),
    sqlite_autoincrement=True,
)

# Locks of unfinished operations, see store/operation_locks.py; rows go with the end of their operation.
operation_locks = sa.Table(
    "operation_locks",
    metadata,
    sa.Column("operation_id", _ID, primary_key=True),
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Index("operation_locks_by_name", "name"),
)

# Apart from the operations, which clients and administrators look at; a row goes with the end of its operation.
operation_secrets = sa.Table(
    "operation_secrets",
    metadata,
    sa.Column("operation_id", _ID, primary_key=True),
    sa.Column("reference", sa.Text, nullable=False),
)
