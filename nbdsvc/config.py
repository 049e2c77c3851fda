"""Settings: the default and the comment above it are the manual. `nbdsvc show-config` prints what is in force.

Read from /etc/nbdsvc/nbdsvc.toml, then /etc/nbdsvc/conf.d/*.toml in order of their names (or `--config FILE`), then from
the environment: NBDSVC_PORT=9000 sets `port`, NBDSVC_DRIVER_OPTIONS="a = 1, b = 'x'" a table. An unknown key is an error.
"""

import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nbdsvc import backend_settings, errors
from nbdsvc.backend_settings import EXPORTERS, BackendSettings

DEFAULT_FILE = Path("/etc/nbdsvc/nbdsvc.toml")
PREFIX = "NBDSVC_"
_IQN_PREFIX = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+\.[a-z0-9.:-]*")
# The weighers of scheduler/weighers, which is above this file.
WEIGHERS = ("capacity", "allocated_capacity", "volume_number", "goodness", "chance")
# Far above any use, and small enough for sums of products to be exact enough; nan is none.
MOST_WEIGHT = 1e6
# Variables that the command line's client reads (cli/client.py): no settings of the service.
_CLIENT = frozenset({"NBDSVC_ENDPOINT", "NBDSVC_TOKEN", "NBDSVC_PROJECT"})


@dataclass(frozen=True)
class Settings:
    """All settings."""

    # Everything that nbdsvc keeps, unless said otherwise: database, volumes, images, exports, locks.
    state_dir: Path = Path("/var/lib/nbdsvc")
    # SQLAlchemy URL or path of the database; empty: SQLite in state_dir. PostgreSQL: postgresql://USER@/NAME?host=/run/postgresql
    database: str = ""
    # Bytes kept back beside a SQLite database, so that detaches and deletions can be recorded on a full disk; new volumes,
    # snapshots and images are refused when less than this is free besides. 0: nothing.
    database_reserve: int = 8 << 20
    # Name of this host in `host@backend#pool`; one process a name.
    host: str = field(default_factory=socket.gethostname)
    # Seconds without a heartbeat in the database after which another process may take over this name. A killed process of the
    # same machine is known to be dead at once.
    claim_seconds: float = 10.0
    # Where the API listens.
    listen: str = "127.0.0.1"
    port: int = 8776
    # noauth: every user is an administrator, as in Cinder's noauth; unless it is set, the API then listens on this
    # host's own addresses (127.0.0.1, ::1) only. token: the tokens of tokens_file.
    auth: str = "noauth"
    # TOML: [tokens.NAME] token = "...", project = "...", user = "...", roles = ["member"]. Readable by its owner only.
    tokens_file: Path | None = None
    # Largest body of a request, in bytes: no request of this API is larger than a few KiB.
    max_body: int = 114688
    # Largest page of a list.
    max_limit: int = 1000
    # The backend: a driver of the entry point group nbdsvc.drivers, its name, and its own settings.
    driver: str = "file"
    backend: str = "file"
    driver_options: dict[str, Any] = field(default_factory=dict)
    # Several backends in place of that one: a table [backends.NAME] each, with driver, exporters (best first: nbd, iscsi),
    # options (the driver's), capabilities (what volume types can ask for besides what it reports), max_copies, copy_rate,
    # copy_cores; see backend_settings.py. Each has its own health, slots and limits.
    # As a variable: NBDSVC_BACKENDS="fast.driver = 'lvm', slow.driver = 'file'".
    backends: dict[str, Any] = field(default_factory=dict)
    # Pool folder of the file driver; empty: state_dir/pool.
    pool: str = ""
    # Volumes in the pool that are marked as nbdsvc's and have no row: the database was lost, or they are another
    # installation's. refuse: do not start. leave: start, and leave them alone.
    unknown_objects: str = "refuse"
    # Images that are named by id or by file name; empty: state_dir/images.
    images: str = ""
    # Folders whose files may be named by path in imageRef.
    image_paths: tuple[str, ...] = ()
    # Whether imageRef may be an http(s) URL.
    image_http: bool = True
    # Where such URLs may lead besides public addresses: networks and host names, "10.0.0.0/8,images.example". Loopback,
    # link-local and private addresses, and this host's own, are refused unless they are listed. The proxies of the
    # environment (https_proxy, http_proxy, no_proxy) are used; where one is, it decides what can be reached.
    image_http_networks: tuple[str, ...] = ()
    # Certificates (PEM) to trust for https in place of the system's.
    image_ca_file: Path | None = None
    # Seconds for which a server may say nothing, and bytes a second below which it is given up; 0: no least.
    image_http_silence: float = 30.0
    image_http_least_rate: int = 1024
    # Bytes that images may take in state_dir/spool while volumes are made of them, all together, for those that cannot be
    # read where they are: a compressed qcow2, or one of a web server without ranges. 0: they are refused. A compressed raw
    # image needs none of it.
    image_spool: int = 0
    # How volumes are exported: nbd, one nbdkit per attachment; lio, iSCSI by the kernel's target, one target per volume.
    # (lio-memory is lio without a kernel, to try out clients of the API.) Detach everything before you change it.
    exporter: str = "nbd"
    # iSCSI: addresses on which targets are reached, ADDRESS or ADDRESS:PORT, [ADDRESS]:PORT for IPv6; several for multipath.
    # 0.0.0.0 or [::], alone: all of the host; an initiator gets the address that routes to it.
    iscsi_portals: tuple[str, ...] = ()
    # iSCSI: what a target's name begins with; volume-ID follows.
    iscsi_prefix: str = "iqn.2010-10.org.openstack:"
    # iSCSI: bytes of a logical block, 512 or 4096. Partition tables count in it, so choose before the first volume is used;
    # an exported volume keeps its own until its last detach.
    iscsi_block_size: int = 512
    # iSCSI: a volume on a device (an LV) answers a write when it is on stable storage, as nbd_write_through has it for NBD.
    # Off: LIO hands requests to the device as they are, faster for many small writes; then what an initiator wrote and
    # flushed may be lost with this host's power, when the flush comes again afterwards. Changes at a volume's next attach.
    iscsi_write_through: bool = True
    # Address on which NBD exports listen for other hosts; empty: this host only.
    nbd_listen: str = ""
    # TLS with a key of each attachment's own on that address. The kernel's NBD client cannot do TLS: switch it off only
    # where only the hypervisor hosts reach the address, because every client that does has the volumes.
    nbd_tls: bool = True
    # Exports on that address answer a write when it is on stable storage; flushes then cost nothing. An initiator survives a
    # power cut of this host and sends its flush again, but not the writes that were answered: without this they may be
    # lost, and the flush succeed. Off: faster for many small writes, safe where this host never loses its memory.
    nbd_write_through: bool = True
    nbd_first_port: int = 10810
    nbd_last_port: int = 11809
    # nbdkit filters in front of every export, and their arguments: for tests of what is behind them.
    nbd_filters: tuple[str, ...] = ()
    nbd_filter_args: tuple[str, ...] = ()
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
    # Availability zone of this host's storage.
    availability_zone: str = "nova"
    # How much each weigher counts in the choice of a pool: capacity (room for promises), allocated_capacity, volume_number
    # (both spread volumes where it is below 0), goodness (the backends' goodness_function), chance. One that is missing: 0.
    scheduler_weights: dict[str, Any] = field(default_factory=lambda: {"capacity": 1.0, "goodness": 1.0})
    # Expressions that decide and score for backends whose options have no filter_function and goodness_function of their own.
    # Empty: those that the backend's driver has, if any.
    filter_function: str = ""
    goodness_function: str = ""
    # Pools in which a creation is tried at most, one after the other, where their backends fail at it.
    scheduler_max_attempts: int = 3
    # Zone of a volume whose creation names none; empty: availability_zone.
    default_availability_zone: str = ""
    # Whether a creation that names a zone without a storage host gets the default zone; off: it is refused.
    allow_availability_zone_fallback: bool = False
    # Name or id of the volume type of a volume whose creation names none. It cannot be deleted.
    default_volume_type: str = "__DEFAULT__"
    # Quotas of a project without limits of its own; -1 is unlimited.
    quota_volumes: int = 10
    quota_snapshots: int = 10
    quota_gigabytes: int = 1000
    quota_per_volume_gigabytes: int = -1
    # Images that a project uploads: how many, and how many GiB of the image folder they may take; -1 is unlimited.
    quota_images: int = 100
    quota_image_gigabytes: int = 1000
    # json or console.
    log_format: str = "console"
    log_level: str = "info"

    @property
    def database_url(self) -> str:
        return self.database or str(self.state_dir / "nbdsvc.db")

    @property
    def pool_path(self) -> Path:
        return Path(self.pool).absolute() if self.pool else self.state_dir / "pool"

    @property
    def served_backends(self) -> dict[str, BackendSettings]:
        """The backends of this host by name, the default one first. ConfigError names a wrong setting of one."""
        unnamed = BackendSettings(
            driver=self.driver,
            exporters=(self.exporter,),
            options=self.driver_options,
            max_copies=self.max_copies,
            copy_rate=self.copy_rate,
            copy_cores=self.copy_cores,
        )
        return backend_settings.parse(self.backends, unnamed) or {self.backend: unnamed}

    def pool_folder(self, backend: str) -> Path:
        """The pool folder of a file backend, unless its options name another."""
        return self.state_dir / "pools" / backend if self.backends else self.pool_path

    def pool_folders(self, backend: str) -> list[Path]:
        """Every folder that the backend's pools are in, where it keeps files."""
        options = self.served_backends[backend].options
        several = options.get("pools")
        named = list(several.values()) if isinstance(several, Mapping) else [options.get("pool")]
        return [self.pool_folder(backend), *(Path(str(each)) for each in named if each)]

    @property
    def images_path(self) -> Path:
        return Path(self.images).absolute() if self.images else self.state_dir / "images"

    @property
    def quota_image_bytes(self) -> int:
        return self.quota_image_gigabytes << 30 if self.quota_image_gigabytes >= 0 else -1

    @property
    def quotas(self) -> dict[str, int]:
        return {
            "volumes": self.quota_volumes,
            "snapshots": self.quota_snapshots,
            "gigabytes": self.quota_gigabytes,
            "per_volume_gigabytes": self.quota_per_volume_gigabytes,
            "backups": 10,
            "backup_gigabytes": 1000,
            "groups": 10,
        }


def load(file: Path | None = None, environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings in force; ConfigError names the setting that is wrong."""
    values: dict[str, Any] = {}
    for path in _files(file):
        values |= _parse(path)
    for key, text in (os.environ if environment is None else environment).items():
        if key.startswith(PREFIX) and key not in _CLIENT:
            values[key.removeprefix(PREFIX).lower()] = text
    values |= {key: value for key, value in overrides.items() if value is not None}
    return _settings(values)


def _files(file: Path | None) -> list[Path]:
    if file is not None:
        if not file.is_file():
            raise errors.ConfigError(setting="--config", reason=f"there is no file {file}")
        return [file]
    drop_ins = sorted((DEFAULT_FILE.parent / "conf.d").glob("*.toml"), key=lambda path: path.name)
    return [path for path in (DEFAULT_FILE, *drop_ins) if path.is_file()]


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError(setting=str(path), reason=str(error)) from error
    except OSError as error:
        raise errors.ConfigError(setting=str(path), reason=error.strerror or str(error)) from error


def _settings(values: dict[str, Any]) -> Settings:
    defaults = Settings()
    known = {f.name for f in fields(Settings)}
    converted = {}
    for key, value in values.items():
        if key not in known:
            raise errors.ConfigError(setting=key, reason="there is no such setting")
        converted[key] = _convert(key, value, getattr(defaults, key))
    settings = replace(defaults, **converted)
    if "auth" not in values and not _is_loopback(settings.listen):
        reason = (
            "everybody who reaches this address would be an administrator: set auth = token (or noauth, if so be it)"
        )
        raise errors.ConfigError(setting="listen", reason=reason)
    return _check(settings)


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _convert(key: str, value: Any, default: Any) -> Any:
    """`value` as the type of the default; text comes from the environment."""
    try:
        if isinstance(default, bool):
            return (
                value
                if isinstance(value, bool)
                else {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
            )
        if isinstance(default, tuple):
            return tuple(value.split(",") if isinstance(value, str) else value)
        if isinstance(default, dict):
            return _table(value) if isinstance(value, str) else dict(value)
        if isinstance(default, Path) or key in ("tokens_file", "image_ca_file"):
            return Path(value).absolute()  # exports outlive this process, and start in / (exports/nbd/launch.py)
        return type(default)(value)
    except (KeyError, TypeError, ValueError) as error:
        raise errors.ConfigError(setting=key, reason=f"{value!r} is not a {type(default).__name__}") from error


def _table(text: str) -> dict[str, Any]:
    """Lines of TOML, or what stands between the braces of an inline table: a unit file's variable has one line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        table: dict[str, Any] = tomllib.loads(f"table = {{ {text} }}")["table"]
        return table


def _are_weights(found: Mapping[str, Any]) -> bool:
    return all(
        name in WEIGHERS and isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= MOST_WEIGHT
        for name, each in found.items()
    )


def _check(settings: Settings) -> Settings:
    for wrong, setting, reason in (
        (settings.auth not in ("noauth", "token"), "auth", "must be noauth or token"),
        (
            not _are_weights(settings.scheduler_weights),
            "scheduler_weights",
            f"must be numbers of {', '.join(WEIGHERS)}",
        ),
        (settings.auth == "token" and settings.tokens_file is None, "tokens_file", "auth = token needs it"),
        (not 0 <= settings.port <= 65535, "port", "must be 0 to 65535"),
        (not settings.host or set(settings.host) & set("@#/"), "host", "must be a name without @, # and /"),
        (settings.unknown_objects not in ("refuse", "leave"), "unknown_objects", "must be refuse or leave"),
        (settings.database_reserve < 0, "database_reserve", "must not be negative"),
        (settings.claim_seconds <= 0, "claim_seconds", "must be more than 0"),
        (settings.scheduler_max_attempts < 1, "scheduler_max_attempts", "must be at least 1"),
        (settings.num_shell_tries < 1, "num_shell_tries", "must be at least 1"),
        (settings.operations_kept <= 0, "operations_kept", "must be more than 0"),
        (not 1 <= settings.max_copies <= 64, "max_copies", "must be 1 to 64"),
        (settings.max_operations < 1, "max_operations", "must be at least 1"),
        (settings.copy_rate < 0, "copy_rate", "must not be negative"),
        (settings.copy_cores < 0, "copy_cores", "must not be negative"),
        (settings.exporter not in EXPORTERS, "exporter", f"must be one of {', '.join(EXPORTERS)}"),
        (settings.iscsi_block_size not in (512, 4096), "iscsi_block_size", "must be 512 or 4096"),
        (
            not _IQN_PREFIX.fullmatch(settings.iscsi_prefix),
            "iscsi_prefix",
            "must begin like iqn.2010-10.org.example: and have no capitals",
        ),
        (settings.nbd_first_port > settings.nbd_last_port, "nbd_last_port", "must not be below nbd_first_port"),
    ):
        if wrong:
            raise errors.ConfigError(setting=setting, reason=reason)
    used = {exporter for backend in settings.served_backends.values() for exporter in backend.exporters}
    if used - {"nbd"} and not settings.iscsi_portals:
        raise errors.ConfigError(setting="iscsi_portals", reason="needs at least one address")
    return settings
