"""The settings of one backend: a table `[backends.NAME]`, or the unnamed one that driver, backend and exporter describe."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nbdsvc import errors

EXPORTERS = ("nbd", "lio", "lio-memory", "iser-memory", "fc-memory", "fake-iscsi", "fake-iser")
# Those of EXPORTERS whose target is its notes.
SIMULATED = ("fc-memory", "fake-iscsi", "fake-iser")
# Other names that users write for these.
_ALIASES = {"iscsi": "lio"}
# Of `cluster@backend`: the width of its column, and of Cinder's.
LONGEST_NAME = 255


@dataclass(frozen=True)
class BackendSettings:
    """Settings of a table `[backends.NAME]`."""

    # A driver of the entry point group nbdsvc.drivers.
    driver: str
    # Transports, best first: nbd, iscsi (lio); simulated: lio-memory, iser-memory, fc-memory, fake-iscsi, fake-iser.
    exporters: tuple[str, ...] = ("nbd",)
    # The driver's own settings.
    options: Mapping[str, Any] = field(default_factory=dict)
    # Capabilities that volume types can require, besides those that the driver reports: { tier = "gold" }.
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    # The most copies of this backend that run at once, in total and for each project; see max_copies.
    max_copies: int = 4
    # Bytes a second and cores for all copies of this backend together; 0: no limit.
    copy_rate: int = 0
    copy_cores: float = 0.0
    # Where its driver's data of initiators is kept, so that backends of one array share it; empty: the backend's name.
    driver_data_namespace: str = ""
    # Cluster of hosts that see the same storage under this backend's name; empty: this host alone sees it.
    cluster: str = ""
    # The most GiB that cached images may have in each pool of this backend, and how many they may be; see
    # image_cache_gigabytes.
    image_cache_gigabytes: int = 0
    image_cache_count: int = 100


def parse(tables: Mapping[str, Any], defaults: BackendSettings) -> dict[str, BackendSettings]:
    """The backends of `[backends.*]`; what a table leaves out is as in `defaults`. ConfigError names what is wrong."""
    return {name: _backend(name, table, defaults) for name, table in tables.items()}


def _backend(name: str, table: Any, defaults: BackendSettings) -> BackendSettings:
    setting = f"backends.{name}"
    if not name or set(name) & set("@#/"):
        raise errors.ConfigError(setting=setting, reason="must be a name without @, # and /")
    if not isinstance(table, Mapping):
        raise errors.ConfigError(setting=setting, reason="must be a table")
    known = [each.name for each in fields(BackendSettings)]
    if unknown := sorted(set(table) - set(known)):
        raise errors.ConfigError(setting=f"{setting}.{unknown[0]}", reason="there is no such setting")
    if not isinstance(table.get("driver"), str):
        raise errors.ConfigError(setting=f"{setting}.driver", reason="must name a driver")
    values = {
        "options": {},
        "capabilities": {},
        **{key: _value(setting, key, value, defaults) for key, value in table.items()},
    }
    inherited = {key: getattr(defaults, key) for key in known if key not in values}
    check_cluster(f"{setting}.cluster", name, str(values.get("cluster", "")))
    return check(setting, BackendSettings(**inherited, **values))


def _value(setting: str, key: str, value: Any, defaults: BackendSettings) -> Any:
    """`value` as the type of the default."""
    default = getattr(defaults, key)
    try:
        if key == "exporters":
            given = value.split(",") if isinstance(value, str) else list(value)
            return tuple(_ALIASES.get(each, each) for each in given)
        return dict(value) if isinstance(default, Mapping) else type(default)(value)
    except (TypeError, ValueError) as error:
        reason = f"{value!r} is not a {type(default).__name__}"
        raise errors.ConfigError(setting=f"{setting}.{key}", reason=reason) from error


def check(setting: str, backend: BackendSettings) -> BackendSettings:
    """The backend, or ConfigError for values that make no sense."""
    unknown = [each for each in backend.exporters if each not in EXPORTERS]
    for wrong, key, reason in (
        (unknown or not backend.exporters, "exporters", f"must be some of {', '.join(EXPORTERS)}"),
        (not 1 <= backend.max_copies <= 64, "max_copies", "must be 1 to 64"),
        (backend.copy_rate < 0, "copy_rate", "must not be negative"),
        (backend.copy_cores < 0, "copy_cores", "must not be negative"),
        (backend.image_cache_gigabytes < 0, "image_cache_gigabytes", "must not be negative"),
        (
            backend.image_cache_count < 1,
            "image_cache_count",
            "must be at least 1; image_cache_gigabytes 0 ends the cache",
        ),
    ):
        if wrong:
            raise errors.ConfigError(setting=f"{setting}.{key}", reason=reason)
    return backend


def check_cluster(setting: str, backend: str, cluster: str) -> None:
    """ConfigError for the name of a cluster that cannot be one in `cluster@backend#pool`, or in a URL."""
    if not cluster:
        return
    if cluster != cluster.strip() or set(cluster) & set("@#/") or not cluster.isprintable():
        reason = f"must be a name without @, # and /, and without spaces around it: {cluster[:40]!r} is none"
        raise errors.ConfigError(setting=setting, reason=reason)
    if len(f"{cluster}@{backend}") > LONGEST_NAME:
        reason = f"must be shorter: with the backend's name it is longer than {LONGEST_NAME} characters"
        raise errors.ConfigError(setting=setting, reason=reason)
