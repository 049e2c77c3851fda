"""A finding: one difference, with its cause and its remedy as sentences; and a kind of finding, which is a row of a table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from nbdsvc.explain.view import View

Severity = Literal["error", "warning", "note"]
ERROR: Severity = "error"  # something cannot be used, or bytes are missing
WARNING: Severity = "warning"  # an error will follow, or something is left over
NOTE: Severity = "note"  # intended by an administrator or a failed operation; for information


@dataclass(frozen=True)
class Found:
    """One resource to which a kind applies. values: for the sentences. related: ids of other resources concerned."""

    noun: str
    id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    related: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """A case of difference; `id` is its kind. words and remedy: sentences with `{id}` and the values of what is found.
    fix: what --fix does.
    """

    id: str
    severity: Severity
    words: str
    remedy: str
    find: Callable[[View], Iterator[Found]]
    fix: str = ""


@dataclass(frozen=True)
class Finding:
    """One difference. `key` identifies it in a request for its repair."""

    kind: str
    severity: Severity
    noun: str
    id: str
    message: str
    remedy: str
    fix: str
    host: str
    since: datetime | None
    related: frozenset[str]

    @property
    def key(self) -> str:
        return f"{self.kind} {self.id}"

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "kind": self.kind,
            "severity": self.severity,
            "resource_type": self.noun,
            "resource_id": self.id,
            "message": self.message,
            "remedy": self.remedy,
            "fix": self.fix or None,
            "host": self.host or None,
            "since": self.since.isoformat() if self.since else None,
            "related": sorted(self.related),
        }


def said(kind: Case, found: Found, host: str, first_seen: datetime | None) -> Finding:
    """The finding with its sentences. first_seen: by a look, where nothing else tells since when it is so."""
    values, since = {"id": found.id, **found.values}, found.since or first_seen
    known = "since" if found.since else "known since"
    message = kind.words.format(**values) + (f", {known} {since:%Y-%m-%d %H:%M} UTC" if since else "")
    return Finding(kind.id, kind.severity, found.noun, found.id, message, kind.remedy.format(**values), kind.fix, host,
                   since, found.related)  # fmt: skip
