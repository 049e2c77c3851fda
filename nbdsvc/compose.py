"""Build a Host from its settings: the only file that names concrete exporters and finds drivers."""

import contextlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdsvc import driver as contract
from nbdsvc import errors, state_folder
from nbdsvc.attachments.transport import protocol_of, recorded_protocols
from nbdsvc.backend_settings import SIMULATED, BackendSettings
from nbdsvc.backup_store.contract import BackupStore
from nbdsvc.backup_store.folder import FolderStore
from nbdsvc.backup_store.keys import load_key
from nbdsvc.backup_store.vault import Vault
from nbdsvc.config import Settings
from nbdsvc.config.backups import S3
from nbdsvc.datapath.digest_store import DigestStore
from nbdsvc.datapath.rate_limit import Limit, cores
from nbdsvc.explain.facts import Device
from nbdsvc.exporter import Exporter
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.host import Backend, Host
from nbdsvc.images.http.access import Access
from nbdsvc.images.http.reach import Reach
from nbdsvc.images.image_store import ImageFolder
from nbdsvc.images.resolve import Images
from nbdsvc.images.spool import Spool
from nbdsvc.process import Runner
from nbdsvc.scheduler.expressions.expression import compile_expression
from nbdsvc.store.database import Database
from nbdsvc.store.unrecorded_ends import UnrecordedEnds

if TYPE_CHECKING:
    from nbdsvc.exports.lio.plan import Portal

# Recorded protocol -> the setting that makes its exporter.
_BY_PROTOCOL = {"nbd": "nbd", "iscsi": "lio", "iser": "iser-memory", "fibre_channel": "fc-memory"}


def make_host(settings: Settings, database: Database) -> Host:
    backends = _make_backends(settings)
    offered = [exporter for backend in backends.values() for exporter in backend.exporters]
    return Host(
        name=settings.host,
        backends=backends,
        database=database,
        images=make_images(settings),
        runner=Runner(settings.num_shell_tries),
        journals=settings.state_dir / "journals",
        digests=DigestStore(settings.state_dir / "digests"),
        vault=make_vault(settings),
        backup_by_snapshot=settings.backup_use_temp_snapshot,
        zone=settings.availability_zone,
        ended=UnrecordedEnds(settings.state_dir / "ended"),
        receiver=_make_receiver(settings, offered),
        retired=_make_retired(settings, database, backends),
        locks=settings.state_dir / "locks",
        devices=_devices,
    )


def make_vault(settings: Settings) -> Vault:
    """The store of backups, which need not be there now. ConfigError for a key file or credentials that are none."""
    key = load_key(settings.backup_key_file) if settings.backup_key_file else None
    user = state_folder.identity(settings.state_dir, settings.host)
    return Vault(_make_store(settings), key, settings.backup_compression == "zstd", user)


def _make_store(settings: Settings) -> BackupStore:
    note = settings.state_dir / "backup-store.json"
    if not settings.backup_store.startswith(S3):
        return FolderStore(settings.backup_path, note)
    from nbdsvc.backup_store import s3_client  # imported only where backups are in S3
    from nbdsvc.backup_store.s3 import S3Store

    if find_spec("botocore") is None:
        raise errors.ConfigError(setting="backup_store", reason="S3 needs botocore: install nbdsvc[s3]")
    assert settings.backup_s3_credentials_file
    s3_client.load_credentials(settings.backup_s3_credentials_file)
    if settings.backup_s3_ca_file and not settings.backup_s3_ca_file.is_file():
        raise errors.ConfigError(setting="backup_s3_ca_file", reason=f"there is no file {settings.backup_s3_ca_file}")
    bucket, _, prefix = settings.backup_store.removeprefix(S3).partition("/")
    place = s3_client.S3Place(
        bucket,
        prefix,
        settings.backup_s3_credentials_file,
        settings.backup_s3_endpoint.rstrip("/"),
        settings.backup_s3_region,
        settings.backup_s3_ca_file,
        settings.backup_s3_timeout,
    )
    return S3Store(place, note)


def _devices() -> list[Device]:
    from nbdsvc.connectors.host import HostConnector  # imported here, because only this call needs it

    return [Device(each.volume_id, each.attachment_id, each.device) for each in HostConnector().all()]


def _make_backends(settings: Settings) -> dict[str, Backend]:
    """Transports are shared: one of a kind serves all backends that have it."""
    found = settings.served_backends
    used = {name for backend in found.values() for name in backend.exporters}
    exporters = {name: _make_exporter(settings, name) for name in sorted(used)}
    return {name: _make_backend(settings, name, backend, exporters) for name, backend in found.items()}


def _make_retired(settings: Settings, database: Database, backends: Mapping[str, Backend]) -> tuple[Exporter, ...]:
    """Transports that no backend has in its settings any more and attachments still have: to repair and to end these.

    ConfigError where one cannot be made: the access of its attachments could not be ended.
    """
    offered = {protocol_of(exporter) for backend in backends.values() for exporter in backend.exporters}
    recorded = recorded_protocols(database, settings.host)
    return tuple(_make_exporter(settings, _BY_PROTOCOL[protocol]) for protocol in sorted(recorded - offered))


def _make_backend(
    settings: Settings, name: str, backend: BackendSettings, exporters: Mapping[str, Exporter]
) -> Backend:
    rate, cpu = Limit(backend.copy_rate), Limit(cores(backend.copy_cores))
    driver = _make_driver(settings, name, backend)
    return Backend(
        name,
        driver,
        tuple(exporters[each] for each in backend.exporters),
        rate,
        cpu,
        backend.max_copies,
        backend.capabilities,
        backend.driver_data_namespace,
        _functions(settings),
        backend.cluster,
        caches_images=backend.image_cache_gigabytes > 0,
    )


def _make_exporter(settings: Settings, name: str) -> Exporter:
    if name == "nbd":
        return _make_nbd(settings)
    return _make_simulated(settings, name) if name in SIMULATED else _make_lio(settings, name)


def _make_nbd(settings: Settings) -> NbdExporter:
    return NbdExporter(
        settings.state_dir / "exports",
        settings.host,
        settings.nbd_listen or None,
        (settings.nbd_first_port, settings.nbd_last_port),
        settings.nbd_filters,
        settings.nbd_filter_args,
        tls=settings.nbd_tls,
        write_through=settings.nbd_write_through,
    )


def _make_receiver(settings: Settings, offered: Iterable[Exporter]) -> Exporter | None:
    """The NBD exporter that is offered, else one for volumes that come from other hosts alone."""
    if not settings.nbd_listen:
        return None
    return next((each for each in offered if isinstance(each, NbdExporter)), None) or _make_nbd(settings)


def _make_lio(settings: Settings, name: str) -> Exporter:
    # Imported only where a backend uses this exporter: other starts take 15 ms less.
    from nbdsvc.exports.lio import LioExporter, portals
    from nbdsvc.exports.lio.iser import IserExporter
    from nbdsvc.exports.lio.kernel import KernelLio
    from nbdsvc.exports.lio.memory import MemoryLio

    is_iser = name == "iser-memory"
    return (IserExporter if is_iser else LioExporter)(
        settings.state_dir / "exports",
        KernelLio(settings.iscsi_block_size) if name == "lio" else MemoryLio(),
        _portals(settings, is_iser=is_iser) or portals.parse(()),
        settings.iser_prefix if is_iser else settings.iscsi_prefix,
        settings.iscsi_block_size,
        write_through=settings.iscsi_write_through,
    )


def _make_simulated(settings: Settings, name: str) -> Exporter:
    from nbdsvc.exports.lio import portals
    from nbdsvc.exports.simulated.fake import FakeTarget
    from nbdsvc.exports.simulated.fibre_channel import FibreChannelTarget

    folder = settings.state_dir / "exports"
    if name == "fc-memory":
        return FibreChannelTarget(folder, settings.fc_target_wwpns)
    is_iser = name == "fake-iser"
    given = _portals(settings, is_iser=is_iser) or portals.parse(("127.0.0.1",))
    prefix = settings.iser_prefix if is_iser else settings.iscsi_prefix
    return FakeTarget(folder, "iSER" if is_iser else "iSCSI", prefix, str(given[0]))


def _portals(settings: Settings, *, is_iser: bool) -> "list[Portal]":
    """The portals of iSCSI or iSER; empty where none are set. ConfigError, which names the setting."""
    from nbdsvc.exports.lio import portals

    if is_iser and settings.iser_portals:
        return portals.parse(settings.iser_portals, "iser_portals")
    return portals.parse(settings.iscsi_portals) if settings.iscsi_portals else []


def make_images(settings: Settings) -> Images:
    """The images of a host; with Glance also of a process that only answers requests. ConfigError."""
    if settings.has_glance:
        return _make_glance(settings)
    with contextlib.suppress(OSError):  # the host works without this folder, and reports the lack
        settings.images_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = [Path(path) for path in settings.image_paths]
    return Images(ImageFolder(settings.images_path), paths, _make_access(settings), _spool(settings), _kept(settings))


def _make_glance(settings: Settings) -> Images:
    # Imported only where Glance is set: other services load nothing of it.
    from nbdsvc.images.glance.client import Glance
    from nbdsvc.images.glance.credentials import load
    from nbdsvc.images.glance.images import GlanceImages
    from nbdsvc.images.glance.keystone import ServiceUser
    from nbdsvc.images.glance.rest import Rest

    assert settings.glance_user_file
    # The operator names the service's address: it may be in any network.
    access = Access(None, _ca_file(settings), settings.image_http_silence, settings.image_http_least_rate)
    user = ServiceUser(load(settings.glance_user_file), Rest(access), settings.glance_endpoint)
    glance = Glance(user, Rest(access))
    near, paths = ([Path(path) for path in listed] for listed in (settings.glance_folders, settings.image_paths))
    return GlanceImages(glance, near, paths, _make_access(settings), spool=_spool(settings), kept=_kept(settings))


def _spool(settings: Settings) -> Spool:
    return Spool(settings.state_dir / "spool", settings.image_spool, "the setting image_spool")


def _kept(settings: Settings) -> list[Path]:
    """Folders of the service itself, in which nothing may be named by a path."""
    pools = [folder for name in settings.served_backends for folder in settings.pool_folders(name)]
    images = [settings.images_path, *map(Path, settings.glance_folders)]
    return [settings.state_dir, *images, *pools]


def _ca_file(settings: Settings) -> Path | None:
    if settings.image_ca_file and not settings.image_ca_file.is_file():
        raise errors.ConfigError(setting="image_ca_file", reason=f"there is no file {settings.image_ca_file}")
    return settings.image_ca_file


def _make_access(settings: Settings) -> Access | None:
    """Limits for fetching images by http; None where http is switched off."""
    if not settings.image_http:
        return None
    try:
        reach = Reach.parse(settings.image_http_networks)
    except ValueError as error:
        raise errors.ConfigError(setting="image_http_networks", reason=str(error)) from None
    return Access(reach, _ca_file(settings), settings.image_http_silence, settings.image_http_least_rate)


def _make_driver(settings: Settings, name: str, backend: BackendSettings) -> contract.Driver:
    folder: dict[str, Any] = {} if "pools" in backend.options else {"pool": settings.pool_folder(name)}
    setting = f"backends.{name}.options" if settings.backends else "driver_options"
    make = contract.load(backend.driver, f"backends.{name}.driver" if settings.backends else "driver")
    try:
        made = make(name, **{**folder, **backend.options})
    except errors.ConfigError as error:
        raise errors.ConfigError(setting=f"{setting}.{error.setting}", reason=error.reason) from error
    except TypeError as error:
        raise errors.ConfigError(setting=setting, reason=str(error)) from error
    driver = contract.check_complete(made, setting)
    _check_functions(driver, setting, _functions(settings))
    return driver


def _functions(settings: Settings) -> dict[str, str]:
    """The functions for backends without their own."""
    return {contract.FILTER: settings.filter_function, contract.GOODNESS: settings.goodness_function}


def _check_functions(driver: contract.Driver, setting: str, overall: Mapping[str, str]) -> None:
    """ConfigError, now and not at a request, for a filter or goodness function that is none."""
    for name, function in contract.functions_of(driver, overall).items():
        places = {"option": f"{setting}.{name}", "setting": name, "driver": f"{setting}: the driver's {name}"}
        compile_expression(function.text, places[function.origin])
