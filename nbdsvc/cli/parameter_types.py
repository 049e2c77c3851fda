"""Numbers as people write them: rates (200M, 1.5G, 0), shares of processors, counts. Each has an end, and is finite."""

import re
from typing import Any

import click

from nbdsvc import units

_UNITS = {"": 1, "K": units.KiB, "M": units.MiB, "G": units.GiB, "T": units.TiB}
# Faster than any memory, and far below what 64 bits can hold.
_MOST_RATE = 1024 * units.TiB
# More cores than any host has.
_MOST_CORES = 4096
# ASCII digits only: Python's int() accepts the digits of every script, and underscores.
_DECIMAL = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"


class Rate(click.ParamType):  # type: ignore[type-arg]
    """Bytes a second; 0: no limit. Whatever is more than 0 is at least 1."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(rf"({_DECIMAL})([KMGT]?)(?:i?B)?(?:/s)?", str(value).strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value} is not a rate: write 200M for 200 MiB a second", param, ctx)
        rate = float(found[1]) * _UNITS[found[2].upper()]
        if rate > _MOST_RATE:
            self.fail(f"{value} is more than {_MOST_RATE // units.TiB}T a second", param, ctx)
        return max(int(rate), 1 if rate else 0)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, as 20G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(rf"({_DECIMAL})([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        size = float(found[1]) * _UNITS[found[2].upper()] if found else _MOST_RATE
        if size >= _MOST_RATE:
            self.fail(f"{value} is not a size below {_MOST_RATE // units.TiB}T: write 20G for 20 GiB", param, ctx)
        return int(size)


class Cores(click.ParamType):  # type: ignore[type-arg]
    """Cores' worth of processor time; 0: no limit."""

    name = "cores"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if not re.fullmatch(_DECIMAL, str(value).strip()) or float(value) > _MOST_CORES:
            self.fail(f"{value} is not a number from 0 to {_MOST_CORES}", param, ctx)
        return float(value)


class Count(click.ParamType):  # type: ignore[type-arg]
    """A whole number from `least` to `most`."""

    name = "number"

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch("-?[0-9]{1,20}", str(value).strip()) or not self._least <= int(value) <= self._most:
            self.fail(f"{value} is not a whole number from {self._least} to {self._most}", param, ctx)
        return int(value)


# A volume's size in GiB: its bytes have to fit into a signed 64-bit number.
SIZE = Count(1, 2**33 - 1)
PORT = Count(0, 65535)
