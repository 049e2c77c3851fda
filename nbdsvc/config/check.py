"""What makes a value of a setting wrong."""

from typing import Any, NamedTuple


class Check(NamedTuple):
    """A condition that is true when a setting is wrong, the setting's name, and the reason for the error message."""

    wrong: Any
    setting: str
    reason: str
