"""What delivers notifications, and what became of them."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Outcome:
    """Of the messages that were sent: how many the receiver has, from the first on, and why not more.

    refused: whether the next one is refused for good, so that to send it again is no use.
    """

    delivered: int
    fault: str = ""
    refused: bool = False


class Sink(Protocol):
    """A receiver of notifications."""

    def send(self, messages: list[dict[str, Any]]) -> Outcome:
        """Deliver messages in their order. Takes some seconds at most."""
