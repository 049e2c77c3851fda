"""The limits of a volume's clients: where a server reads them at its start, and how the core gets them.

Limits are numbers by the keys of QoS specs of the back end, without those for each GiB: `read_iops_sec`, its burst
`read_iops_sec_max` and the burst's seconds `read_iops_sec_max_length`, and so on, and `size_iops_sec`. nbdkit loads this
module, too.

    <exports>/<attachment id>/limits.json    the limits of the attachment's volume, for a server that is started again
    /dev/shm/nbdsvc-limits-<volume>-<crc>    what the servers of one volume share (native/serve/limits.h)
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file
from nbdsvc._native import ffi, lib

FILE = "limits.json"
_SHARED_MEMORY = Path("/dev/shm")
# In the order of the core (native/serve/throttle.h).
_RATES = tuple(f"{kind}_{unit}_sec" for unit in ("iops", "bytes") for kind in ("read", "write", "total"))
_OPERATION_SIZE = "size_iops_sec"


def shared_path(exports: Path, volume_id: str) -> Path:
    """The file that the servers of a volume share; a volume of another service with the same id has another one."""
    return _SHARED_MEMORY / f"nbdsvc-limits-{volume_id}-{zlib.crc32(os.fsencode(exports)):08x}"


def read(folder: Path) -> dict[str, int]:
    """The limits in the export's folder. Raises OSError, and ValueError for a damaged file."""
    try:
        return dict(json.loads((folder / FILE).read_bytes()))
    except FileNotFoundError:
        return {}


def write(folder: Path, limits: Mapping[str, int]) -> None:
    """Write the limits for the next server of the export. Not synced: after a crash of the host, rows say them anew."""
    if limits or (folder / FILE).exists():
        atomic_file.write(folder / FILE, json.dumps(dict(limits)).encode(), durable=False)


def created(exports: Path, volume_id: str) -> Any:
    """The core's limits of a volume, without any yet."""
    made = ffi.new("struct nbdsvc_limits **")
    _check(lib.nbdsvc_limits_create(str(shared_path(exports, volume_id)).encode(), made), "create")
    return made[0]


def set_limits(served: Any, limits: Any) -> None:
    """Let all servers of the volume keep to these. Raises OSError for the shared memory, ValueError or TypeError for what are
    no limits, also for an unknown key.
    """
    if not isinstance(limits, dict):
        raise TypeError("limits are an object")
    wanted = ffi.new("struct nbdsvc_limit[]", len(_RATES))
    left = dict(limits)
    for limit, rate in zip(wanted, _RATES, strict=True):
        limit.average, limit.burst = left.pop(rate, 0), left.pop(f"{rate}_max", 0)
        limit.seconds = left.pop(f"{rate}_max_length", 1) if limit.burst else 0
    size = left.pop(_OPERATION_SIZE, 0)
    if left:
        raise ValueError(f"unknown limits: {', '.join(sorted(left))}")
    _check(lib.nbdsvc_limits_set(served, wanted, size), "share")


def limits_of(served: Any) -> dict[str, int]:
    """The limits that the servers of the volume keep to."""
    found, size = ffi.new("struct nbdsvc_limit[]", len(_RATES)), ffi.new("double *")
    lib.nbdsvc_limits_get(served, found, size)
    limits: dict[str, int] = {}
    for limit, rate in zip(found, _RATES, strict=True):
        values = {rate: limit.average, f"{rate}_max": limit.burst}
        values[f"{rate}_max_length"] = limit.seconds if limit.seconds > 1 else 0
        limits.update({key: int(value) for key, value in values.items() if value})
    return {**limits, **({_OPERATION_SIZE: int(size[0])} if size[0] else {})}


def forget(exports: Path, volume_id: str) -> None:
    """Remove what the servers of the volume shared, unless one still has it. Raises OSError."""
    _check(lib.nbdsvc_limits_forget(str(shared_path(exports, volume_id)).encode()), "remove")


def _check(result: int, verb: str) -> None:
    if result < 0:
        raise OSError(-result, f"cannot {verb} the limits of a volume: {os.strerror(-result)}")
