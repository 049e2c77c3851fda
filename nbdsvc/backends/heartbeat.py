"""Start a backend's driver, and report what it has: its health and pools, for the API and the scheduler.

Each backend has a Heartbeat of its own and a thread for it, so that one whose driver does not answer is down, and no other.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from nbdsvc import driver as contract
from nbdsvc import errors
from nbdsvc.backends import findings, membership, placement, provider_info, recognition, replication
from nbdsvc.backends.destination import IN_USE, RECEIVES, SENDS
from nbdsvc.backends.places import Places
from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.exporter import LimitingExporter
from nbdsvc.host import Backend, Host
from nbdsvc.store import backends, promises, repositories, transitions

log = structlog.get_logger(__name__)


class Heartbeat:
    """The heartbeat of one backend.

    refuse_unknown: whether objects of ours without a row are a ConfigError. places: of all pools of the host.
    check_machine: whether this is the host's machine, by a backend that works. reported: called after each report.
    """

    def __init__(
        self,
        host: Host,
        backend: Backend,
        *,
        refuse_unknown: bool,
        places: Places,
        check_machine: Callable[[Backend], None] = lambda _backend: None,
        reported: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.name = backend.name
        self._host = host
        self._backend = backend
        self._refuse_unknown = refuse_unknown
        self._places = places
        self._check_machine = check_machine
        self._reported = reported
        self.first = threading.Event()
        """Set once the backend reported, or could not."""
        self.failure: errors.Error | None = None
        """Why the service must not start over this backend."""

        self._working = False
        # Identities of the pools with which it has joined its cluster.
        self._joined: Mapping[str, str] = {}

    def beat(self) -> None:
        """Start the driver if it does not work, and report.

        ConfigError where it holds what the database does not know, or one of its pools is another's.
        """
        try:
            if not self._working:
                self._working = self._start()
            elif self._backend.cluster:
                self._join()
            self._working = publish(self._host, self._backend, self._working)
            if self._working:
                replication.follow_report(self._host, self._backend)
            self._reported(f"{self._host.name}@{self._backend.name}")
        except errors.ConfigError as error:
            self.failure, self._working = error, False
            raise
        finally:
            self.first.set()

    def _start(self) -> bool:
        self._take_places()
        replication.set_active(self._host, self._backend)
        working = initialise(self._backend)
        if working and self._backend.cluster:
            self._join()
        if working and self._refuse_unknown:
            recognition.check_objects(self._host, self._backend)
        if working:
            self._check_machine(self._backend)
            replication.look_again(self._host, self._backend)
        return working and provider_info.take_over(self._host, self._backend)

    def _join(self) -> None:
        """Join the cluster, with the pools that are there now; ConfigError where one is not what its other hosts see."""
        try:
            self._joined = membership.join(self._host, self._backend, self._joined)
        except errors.RequestError as error:
            reason = f"backend {self.name} cannot be one of cluster {self._backend.cluster}: {error}"
            raise errors.ConfigError(setting="cluster", reason=reason) from error

    def _take_places(self) -> None:
        try:
            self._places.take(self.name, self._backend.driver)
        except errors.ConfigError:
            raise
        except errors.Error as error:  # the start of the driver will fail for the same reason, and log it
            log.error("backend cannot say where its pools are", backend=self.name, reason=str(error))


def initialise(backend: Backend) -> bool:
    """Call do_setup and check_for_setup_error; False, and an error in the log, when the driver cannot work."""
    try:
        backend.driver.do_setup()
        backend.driver.check_for_setup_error()
    except errors.Error as error:
        log.error("backend is not usable", backend=backend.name, reason=str(error))
        return False
    return True


def publish(host: Host, backend: Backend, working: bool) -> bool:
    """Write the backend's report. Returns whether its driver works."""
    capabilities: dict[str, Any] = {}
    pools: list[PoolStats] = []
    with host.database.read() as conn:
        settled = promises.settled(conn, host.name, backend.name)
    misplaced: dict[str, str] = {}
    if working:
        try:
            backend.driver.check_for_setup_error()
            objects = _maintain(host, backend)
            pools = backend.driver.get_volume_stats(refresh=True) or [contract.unmeasured(backend.name)]
            misplaced = findings.find_misplaced(host, backend, pools, objects) if len(pools) > 1 else {}
            capabilities = _capabilities(backend) | {
                RECEIVES: host.receiver is not None,
                SENDS: True,
                IN_USE: True,
            }
        except errors.Error as error:
            log.error("backend went away", backend=backend.name, reason=str(error))
            working, pools = False, []
    lacking = findings.look(host, backend, pools, misplaced)
    with host.database.write() as conn:
        before = backends.find(conn, f"{host.name}@{backend.name}")
        known = before.capabilities if before else {}
        capabilities["findings"] = findings.report(lacking, known.get("findings", []))
        _warn_of_properties(backend, capabilities, known)
        measured = promises.measured(settled, promises.settled(conn, host.name, backend.name))
        left = {} if backend.cluster else {"cluster": ""}
        backends.report(
            conn,
            host.name,
            backend.name,
            host.zone,
            pools,
            measured,
            working=working,
            capabilities=capabilities,
            **left,
        )
    return working


def _maintain(host: Host, backend: Backend) -> list[BackendObject]:
    """Let the driver maintain its pools, and set every snapshot whose bytes are lost to error. What is in the pools."""
    try:
        backend.driver.watch()
    except errors.Error as error:  # volumes may still be served: check_for_setup_error decides
        log.error("the pool cannot be maintained", backend=backend.name, reason=str(error))
    objects = backend.driver.list_objects()
    lost = {found.id: found.fault for found in objects if found.kind == "snapshot" and found.fault}
    for id, fault in lost.items():
        with host.database.write() as conn:
            row = repositories.snapshots.find(conn, str(id))
            volume = repositories.volumes.find(conn, row.volume_id) if row else None
            if row and row.status == "available" and volume and volume.host == host.name:
                log.error("a snapshot is lost", snapshot=id, reason=fault)
                transitions.finish_snapshot(conn, row.id, "available", "error")
    return objects


def _warn_of_properties(backend: Backend, capabilities: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Only of what the last report did not have: a report is made every few seconds."""
    for fault in capabilities.get("property_faults", []):
        if fault not in known.get("property_faults", []):
            log.warning("a property of the backend is misnamed", backend=backend.name, reason=fault)


def _capabilities(backend: Backend) -> dict[str, Any]:
    driver, able = backend.driver, backend.able
    functions = contract.functions_of(driver, backend.functions)
    return {
        "storage_protocol": backend.exporter.protocol,
        "storage_protocols": [exporter.protocol for exporter in backend.exporters],
        placement.LIMITING: [each.protocol for each in backend.exporters if isinstance(each, LimitingExporter)],
        "driver": contract.class_name(driver),
        "protocols": sorted(able.protocols),
        "instant_clone": able.instant_clone,
        "instant_snapshot": able.instant_snapshot,
        "multiattach": able.multiattach,
        "replication": able.replication,
        "replication_targets": backend.replication_targets,
        "secure_file_operations": _are_files_secure(driver),
        "extra": dict(backend.capabilities),
        "description": contract.init_capabilities(driver),
        "property_faults": contract.property_faults(driver),
        **{name: functions[name].text if name in functions else None for name in (contract.FILTER, contract.GOODNESS)},
    }


def _are_files_secure(driver: contract.Driver) -> bool:
    """Nothing of this service changes the owner of a volume's file; it is for those who do, and who look at the report."""
    return isinstance(driver, contract.SecureFilesDriver) and driver.secure_file_operations_enabled()
