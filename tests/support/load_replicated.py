"""A client whose volumes have copies at another site, which a failover takes them to."""

from collections.abc import Callable

from load import BLANK, Known, Owner

DOUBLE = "double"


class Replicating(Owner):
    """It does what a volume with a replica allows; see `Owner.fall_back` for what a failover may cost it."""

    type = DOUBLE

    def deeds(self) -> list[Callable[[], None]]:
        """No moves and no snapshots, which would stay behind."""
        return [self._new, self._write, self._write, self._write, self._attach, self._detach, self._remove]

    def _new(self) -> None:
        if len(self.client.get("volumes")["volumes"]) >= self._most:
            self._remove()
            return
        name = self._name()
        self.volumes[name] = made = Known(BLANK, {1})
        self._make("volumes", {"volume": {"size": 1, "name": name, "volume_type": DOUBLE}}, made, None)

    _create = _new
