"""A rate as people write it: 200M, 1.5G, 0."""

import re
from typing import Any

import click

from nbdsvc import units

_UNITS = {"": 1, "K": units.KiB, "M": units.MiB, "G": units.GiB, "T": units.TiB}


class Rate(click.ParamType):  # type: ignore[type-arg]
    """Bytes a second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?(?:/s)?", str(value).strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value} is not a rate: write 200M for 200 MiB a second", param, ctx)
        return int(float(found[1]) * _UNITS[found[2].upper()])
