"""Joins a backend to its cluster, once its storage is known to be what the cluster's other hosts see."""

from collections.abc import Mapping

from nbdsvc import errors
from nbdsvc.driver import SharedStorageDriver, class_name, unsupported
from nbdsvc.host import Backend, Host
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import clusters


def join(host: Host, backend: Backend, joined: Mapping[str, str]) -> Mapping[str, str]:
    """Join with the identities of the pools that are there now, unless these are `joined` already. Returns them.

    Raises Conflict where they are not those of the cluster's other hosts, Unsupported where the storage cannot be shared. A
    backend that is away is left as it is.
    """
    found = identities(backend)
    if found and dict(joined) != dict(found):
        member = StorageBackend(
            names.new_id(), host.name, backend.name, availability_zone=host.zone, working=False, cluster=backend.cluster
        )
        with host.database.write() as conn:
            clusters.join(host.database, conn, member, class_name(backend.driver), found)
    return found or joined


def identities(backend: Backend) -> Mapping[str, str]:
    """The identity of each pool's storage; empty while it is away. Unsupported where it cannot be shared."""
    driver = backend.driver
    if not isinstance(driver, SharedStorageDriver):
        raise unsupported(backend.name, class_name(driver), "SharedStorageDriver")
    try:
        return driver.storage_identities()
    except errors.BackendError:
        return {}
