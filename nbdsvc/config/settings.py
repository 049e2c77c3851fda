"""All settings as one object, and what follows from several of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nbdsvc import backend_settings
from nbdsvc.backend_settings import BackendSettings
from nbdsvc.config.access import Access
from nbdsvc.config.backups import Backups
from nbdsvc.config.check import Check
from nbdsvc.config.choice import Choice
from nbdsvc.config.exports import Exports
from nbdsvc.config.images import Images
from nbdsvc.config.installation import Installation
from nbdsvc.config.limits import Limits
from nbdsvc.config.storage import Storage
from nbdsvc.config.work import Work


# The fields of a dataclass's last base come first, so that `nbdsvc show-config` prints those of Installation at the
# top.
@dataclass(frozen=True)
class Settings(Limits, Choice, Work, Backups, Exports, Images, Storage, Access, Installation):
    """All settings."""

    @property
    def pool_path(self) -> Path:
        return Path(self.pool).absolute() if self.pool else self.state_dir / "pool"

    @property
    def served_backends(self) -> dict[str, BackendSettings]:
        """The backends of this host by name, the default one first. ConfigError names a backend's wrong setting."""
        for name in self.backends or [self.backend]:
            backend_settings.check_cluster("cluster", name, self.cluster)
        unnamed = BackendSettings(
            driver=self.driver,
            exporters=(self.exporter,),
            options=self.driver_options,
            max_copies=self.max_copies,
            copy_rate=self.copy_rate,
            copy_cores=self.copy_cores,
            cluster=self.cluster,
        )
        return backend_settings.parse(self.backends, unnamed) or {self.backend: unnamed}

    def pool_folder(self, backend: str) -> Path:
        """The pool folder of a file backend, unless its options name another."""
        return self.state_dir / "pools" / backend if self.backends else self.pool_path

    def pool_folders(self, backend: str) -> list[Path]:
        """Every folder in which the backend keeps the files of its pools."""
        options = self.served_backends[backend].options
        several = options.get("pools")
        named = list(several.values()) if isinstance(several, Mapping) else [options.get("pool")]
        return [self.pool_folder(backend), *(Path(str(each)) for each in named if each)]

    @property
    def images_path(self) -> Path:
        return Path(self.images).absolute() if self.images else self.state_dir / "images"

    @property
    def backup_path(self) -> Path:
        return Path(self.backup_store).absolute() if self.backup_store else self.state_dir / "backups"

    def checks(self) -> Iterator[Check]:
        """The checks of each kind of settings, and then those that concern several kinds together."""
        for kind in (Installation, Access, Storage, Images, Exports, Backups, Work, Choice):
            yield from kind.checks(self)
        used = {exporter for backend in self.served_backends.values() for exporter in backend.exporters}
        clusters = {backend.cluster for backend in self.served_backends.values()}
        yield Check(self.host in clusters, "cluster", "must not be the host's own name: both stand before an @")
        portals_missing = used - {"nbd"} and not self.iscsi_portals
        yield Check(portals_missing, "iscsi_portals", "needs at least one address")
