"""The service's half of limits: the file for the next server of an export, and the channel to the one that runs."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd import limits as of_volume
from nbdsvc.exports.nbd.channel_client import command

# Seconds. A server answers at once, unless it switches a mirror; whoever looks at limits does so again.
_SECONDS = 2.0


class Limiting:
    """See LimitingExporter in nbdsvc/exporter.py for the contract."""

    _root: Path

    def limit_clients(self, export_id: str, limits: Mapping[str, int]) -> None:
        """Written for the next server first, so that one that dies meanwhile comes back with them."""
        try:
            of_volume.write(self._root / export_id, limits)
        except OSError as error:
            raise errors.ExportFailed(export=export_id, reason=f"its limits could not be written: {error}") from error
        self._command_limits(export_id, do="limit_clients", limits=dict(limits))

    def limits(self, export_id: str) -> Mapping[str, int]:
        """Without a look at the server of an export that never had limits."""
        if not (self._root / export_id / of_volume.FILE).exists():
            return {}
        return self._command_limits(export_id, do="limits")

    def _is_limited(self, spec: ExportSpec) -> bool:
        """Limit the clients of a running server; False for one that cannot, of an older version. ExportFailed without a
        reply.
        """
        try:
            if self.limits(spec.id) != spec.limits:
                self.limit_clients(spec.id, spec.limits)
        except errors.ExportFailed as error:
            if error.__cause__ is not None:
                raise
            return False
        return True

    def _forget_limits(self, volume_id: str | None) -> None:
        """After the end of an export: what its volume's servers share, unless another one has it."""
        if volume_id is not None:
            with contextlib.suppress(OSError):  # some bytes of memory, until the volume is exported and removed again
                of_volume.forget(self._root, volume_id)

    def _command_limits(self, export_id: str, **request: Any) -> dict[str, int]:
        return dict(command(self._root, export_id, _SECONDS, **request)["limits"])
