"""The differences in the facts: pure functions, so that a test can check every kind with facts of its own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from nbdsvc.explain import backup_kinds, export_kinds, group_kinds, service_kinds, snapshot_kinds, volume_kinds
from nbdsvc.explain.facts import Facts
from nbdsvc.explain.finding import Case, Finding, said
from nbdsvc.explain.view import View

_MODULES = (volume_kinds, snapshot_kinds, group_kinds, backup_kinds, export_kinds, service_kinds)
# qos/keep.py keeps limits, and no repair: a server of an older version knows none, and is not to be started anew for them.
EXPORT_KINDS: tuple[Case, ...] = tuple(kind for kind in export_kinds.OF_STORAGE if "limits" not in kind.id)
OF_STORAGE: tuple[Case, ...] = tuple(kind for module in _MODULES for kind in module.OF_STORAGE)
"""Those that the host next to the storage finds."""
OF_ROWS: tuple[Case, ...] = tuple(kind for module in _MODULES for kind in module.OF_ROWS)
"""Those that rows alone show, also of a host that is down."""
KINDS = OF_STORAGE + OF_ROWS

_ORDER = {"error": 0, "warning": 1, "note": 2}


def diff(
    facts: Facts,
    kinds: Sequence[Case] = KINDS,
    first_seen: Callable[[Sequence[str]], Mapping[str, datetime]] = lambda _keys: {},
) -> list[Finding]:
    """Every finding of these kinds, the worst first. first_seen: key of a finding -> the time of its first look."""
    view = View(facts)
    found = {f"{kind.id} {each.id}": (kind, each) for kind in kinds for each in kind.find(view)}
    known = first_seen(list(found))
    sentences = [said(kind, each, facts.host, known.get(key)) for key, (kind, each) in found.items()]
    return sorted(sentences, key=lambda each: (_ORDER[each.severity], each.kind, each.id))
