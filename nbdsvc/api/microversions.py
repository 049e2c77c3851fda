"""The microversion of a request: absent is 3.0, malformed 400, outside the supported range 406."""

import re

from nbdsvc import errors
from nbdsvc.api import steps

MINIMUM, MAXIMUM = steps.STEPS[0].version, steps.STEPS[-1].version
SERVICE = "volume"
Version = steps.Version


class NotAcceptable(Exception):
    """A version that is not served."""


def text(version: Version) -> str:
    """The version as headers have it, such as 3.71."""
    return f"{version[0]}.{version[1]}"


def parse(header: str | None) -> Version:
    """The version that `OpenStack-API-Version: volume X.Y` names."""
    wanted = [part.split() for part in (header or "").split(",") if part.strip()]
    ours = [part for part in wanted if part[0] == SERVICE]
    if not wanted:
        return MINIMUM
    if not ours or len(ours[0]) != 2:
        raise errors.InvalidInput(field="OpenStack-API-Version", value=header, reason="must be: volume X.Y")
    if ours[0][1] == "latest":
        return MAXIMUM
    match = re.fullmatch(r"([1-9]\d{0,3})\.(0|[1-9]\d{0,3})", ours[0][1])
    if not match:
        raise errors.InvalidInput(field="OpenStack-API-Version", value=header, reason="must be: volume X.Y")
    version = (int(match[1]), int(match[2]))
    if not MINIMUM <= version <= MAXIMUM:
        raise NotAcceptable(
            f"Version {text(version)} is not supported by the API. "
            f"Minimum is {text(MINIMUM)} and maximum is {text(MAXIMUM)}."
        )
    return version
