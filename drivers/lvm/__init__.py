"""Volumes as logical volumes: thin ones in a thin pool, or thick ones."""

from typing import Any

from drivers.lvm.base import LvmBase, chosen
from drivers.lvm.thick import ThickDriver
from drivers.lvm.thin import ThinDriver

__all__ = ["LvmBase", "ThickDriver", "ThinDriver", "make"]

# Options of the other type, which version 0.1 accepted and ignored.
_IGNORED = {"thin": ("snapshot_percent", "clearing"), "thick": ("pool_name",)}
_DRIVERS: dict[str, type[LvmBase[Any]]] = {"thin": ThinDriver, "thick": ThickDriver}


def make(name: str, *, lvm_type: str = "thin", **options: Any) -> LvmBase[Any]:
    """The driver `lvm`: `lvm_type` chooses which. ConfigError for another; TypeError for an option that it does not have."""
    chosen("lvm_type", lvm_type, tuple(_DRIVERS))
    return _DRIVERS[lvm_type](name, **{key: value for key, value in options.items() if key not in _IGNORED[lvm_type]})
