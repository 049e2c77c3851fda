"""Volumes as logical volumes: thin ones in one pool of a volume group (row S009)."""

from drivers.lvm.driver import LvmDriver

__all__ = ["LvmDriver"]
