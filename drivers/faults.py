"""Faults of the simulator: what a test plans for it, in a file, so that it can reach into a running service.

`faults.json` in the first pool's folder is read before every verb:

    {"create_volume": [{"when": "before", "error": "OutOfSpace", "times": 1, "delay": 0.5}]}

`when`: before or after the verb did its work. `error`: a class of nbdsvc.errors, ValueError, or null for a mere delay.
`times`: how often, counted in `faults.count.json`; without it always. `returns`: no fault, but what the verb returns in
place of its own.
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nbdsvc import atomic_file, errors

F = TypeVar("F", bound=Callable[..., Any])


class _Faulty(Protocol):
    faults: "Faults"


def faulty(verb: F) -> F:
    """Apply the planned faults before and after the verb."""

    @functools.wraps(verb)
    def wrapped(self: _Faulty, *args: Any, **kwargs: Any) -> Any:
        self.faults.meet(verb.__name__, "before")
        result = verb(self, *args, **kwargs)
        self.faults.meet(verb.__name__, "after")
        return self.faults.returned(verb.__name__, result)

    return wrapped  # type: ignore[return-value]


class Faults:
    """The faults of one simulator, kept in its folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._plan = folder / "faults.json"
        self._counts = folder / "faults.count.json"
        self._name = name

    def plan(self, plan: dict[str, list[dict[str, Any]]]) -> None:
        """Replace the plan and reset its counts. `plan`: the content of faults.json, as above."""
        self._counts.unlink(missing_ok=True)
        _write(self._plan, plan)

    def meet(self, verb: str, when: str) -> None:
        """Sleep and raise as planned."""
        for index, fault in enumerate(_read(self._plan).get(verb, [])):
            if "returns" in fault:
                continue
            if fault.get("when", "before") == when and self._counted(f"{verb}/{index}", fault.get("times")):
                time.sleep(fault.get("delay", 0))
                if fault.get("error"):
                    raise _make(fault["error"], self._name, verb)

    def returned(self, verb: str, result: Any) -> Any:
        """What the verb is to return: its result, unless the plan has another one."""
        for index, fault in enumerate(_read(self._plan).get(verb, [])):
            if "returns" in fault and self._counted(f"{verb}/{index}", fault.get("times")):
                return fault["returns"]
        return result

    def _counted(self, key: str, times: int | None) -> bool:
        if times is None:
            return True
        counts = _read(self._counts)
        counts[key] = counts.get(key, 0) + 1
        _write(self._counts, counts)
        return bool(counts[key] <= times)


def _make(kind: str, name: str, verb: str) -> Exception:
    reason = f"simulated fault in {verb}"
    facts: dict[str, dict[str, Any]] = {
        "OutOfSpace": {"pool": name, "requested": None, "free": 0, "reason": reason},
        "GroupFailed": {"group": name, "reason": reason},
        "DeviceBusy": {"device": name, "reason": reason},
        "UnableToFailOver": {"backend": name, "reason": reason},
        "BackendUnavailable": {"backend": name, "reason": reason},
        "CommandFailed": {"argv": ["simulated"], "rc": 5, "stderr": reason},
    }
    made: type[errors.Error] | None = getattr(errors, kind, None)
    # A driver of others may raise what it likes.
    return made(**facts.get(kind, {"reason": reason})) if made else ValueError(reason)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    atomic_file.write(path, json.dumps(content).encode(), durable=False)
