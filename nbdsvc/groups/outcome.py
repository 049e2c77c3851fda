"""What a driver returned for a group, judged by the rules of rows S107-S112 of the acceptance table. Pure.

An entry that is bad makes the whole bad, also where the driver returned no model_update (trap T7). A whole that is bad ends
in `error` whatever it says (trap T8). What the list of entries does not name then is `error` too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbdsvc import errors
from nbdsvc.driver import Update, Updates

# The statuses that make a whole bad, of what is made and of what is removed.
BAD, BAD_DELETION = frozenset({"error"}), frozenset({"error", "error_deleting"})
# The statuses that an entry may give; any other counts as `error`.
_MADE = frozenset({"available", "error"})
_REMOVED = frozenset({"deleted", "error_deleting", "error", "available"})
# The fields of an entry that are kept with its object, besides its status.
_KEPT = (
    "provider_id",
    "provider_location",
    "driver_data",
    "replication_status",
    "replication_extended_status",
    "replication_driver_data",
)


@dataclass(frozen=True)
class Outcome:
    """The result of a driver's call. status: the bad one of the whole; None: success. entries: by the object's id."""

    status: str | None = None
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result of a step."""
        return {"status": self.status, "entries": {id: dict(entry) for id, entry in self.entries.items()}}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Outcome":
        """Read the result of `to_json`; None, where the call raised an error or was never made, is a failure of all."""
        return cls(**stored) if stored is not None else cls(status="error")

    def made(self, id: str) -> str:
        """The status of an object that was to be made, where the whole failed."""
        return self._of(id, _MADE)

    def removed(self, id: str) -> str:
        """The status of an object that was to be removed, where the whole failed; `deleted`: it is gone."""
        return self._of(id, _REMOVED)

    def state(self, id: str) -> dict[str, Any]:
        """The columns of an object's row that its entry sets, besides the status."""
        return {name: value for name, value in self.entries.get(id, {}).items() if name in _KEPT}

    def _of(self, id: str, allowed: frozenset[str]) -> str:
        status = str(self.entries.get(id, {}).get("status"))
        return status if self.status and status in allowed else "error"


def judge(model_update: Update, updates: Updates, bad: Collection[str], ids: Collection[str]) -> Outcome:
    """What the driver's return values mean for objects with these ids; entries of others are ignored.

    Raises InternalError, because the driver is at fault, for an entry that names no object.
    """
    entries = {each["id"]: dict(each) for each in _named(updates) if each["id"] in ids}
    worst = next((str(each["status"]) for each in entries.values() if each.get("status") in bad), None)
    status = (model_update or {}).get("status")
    return Outcome(str(status) if status in bad else worst, entries)


def judge_pair(returned: tuple[Update, Updates] | None, bad: Collection[str], ids: Collection[str]) -> Outcome:
    """As `judge`, for the pair that most methods return."""
    model_update, updates = returned or (None, None)
    return judge(model_update, updates, bad, ids)


def _named(updates: Updates) -> Sequence[Mapping[str, Any]]:
    if not all(isinstance(each, Mapping) and each.get("id") for each in updates or ()):
        raise errors.InternalError(reason="a driver returned an update that names no volume or snapshot")
    return updates or ()


def raise_if_bad(outcome: Outcome, group: str) -> None:
    """GroupFailed where the driver says so."""
    if outcome.status is not None:
        raise errors.GroupFailed(group=group, reason=f"its driver says that its status is {outcome.status}")
