"""The store as a host uses it: its spaces, with the keys of this installation."""

from dataclasses import dataclass, field

from nbdsvc import errors
from nbdsvc.backup_store.contract import BackupStore, Missing
from nbdsvc.backup_store.keys import CLEAR, SpaceKeys
from nbdsvc.backup_store.manifest import Manifest
from nbdsvc.backup_store.space import Space, spaces_of


@dataclass(frozen=True)
class Vault:
    """A store, and how this host writes to it. master: the installation's key; None: nothing is sealed. user: a name that
    no other host has, of whatever installation.
    """

    store: BackupStore
    master: bytes | None = field(default=None, repr=False)
    compress: bool = True
    user: str = ""

    def space(self, name: str) -> Space:
        """The space for new backups. Raises BackendUnavailable where the store is away."""
        self.store.check()
        return Space(self.store, name, SpaceKeys(self.master, name))

    def space_of_backup(self, name: str, mark: str) -> Space:
        """The space for a backup whose row has this mark of its key, in hexadecimal digits; empty: it is not sealed.

        Raises BackendUnavailable where the store is away, or this host has another key.
        """
        self.store.check()
        if bytes.fromhex(mark) in (b"", CLEAR):
            return Space(self.store, name, SpaceKeys(None, name))
        keys = SpaceKeys(self.master, name)
        if keys.mark.hex() != mark:
            has = "has another one" if keys.seals else "has none: set backup_key_file"
            reason = f"the backup is sealed by the key {mark}, and this host {has}"
            raise errors.BackendUnavailable(backend=self.store.name, reason=reason)
        return Space(self.store, name, keys)

    def manifest(self, space: Space, backup_id: str) -> Manifest:
        """Raises BackupDamaged, also where there is none."""
        try:
            return space.get_manifest(backup_id)
        except Missing:
            raise errors.BackupDamaged(backup=backup_id, reason="the store has no such backup") from None

    def spaces(self) -> list[Space]:
        """Every space. Raises BackendUnavailable."""
        self.store.check()
        return [Space(self.store, name, SpaceKeys(self.master, name)) for name in spaces_of(self.store)]
