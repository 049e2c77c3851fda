"""What makes a value of a setting wrong."""

from typing import Any, NamedTuple


class Check(NamedTuple):
    """A condition that no settings may fulfil, and what the administrator reads if they do."""

    wrong: Any
    setting: str
    reason: str
